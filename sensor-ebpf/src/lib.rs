//! What the kernel and user space share: the ABI of maps and ring records, the one packet
//! parser that makes flow keys, the sampling decision, and the guard's decisions.
//!
//! The library is `no_std`, has no dependency on aya and never allocates, so that the very code
//! that runs in XDP is unit-tested, fuzzed and used by the capture reader on the host.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        internal_features,
        reason = "what the verifier needs has no stable name"
    )
)]

pub mod abi;
pub mod guard;
pub mod hash;
pub mod lab;
pub mod lists;
pub mod merged;
pub mod parse;
pub mod sampling;
mod verifier;
