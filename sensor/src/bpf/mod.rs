//! The user side of the data plane, and the only module that knows aya.
//!
//! [`DataPlane`] owns the loaded BPF object, its maps, rings and links. One thread drives it:
//!
//! 1. [`DataPlane::load`], then [`DataPlane::attach`] once for each device;
//! 2. in a loop: [`DataPlane::wait`], [`DataPlane::poll_samples`] (feeds
//!    [`crate::source::live::Source`]), and at each interval [`DataPlane::close_generation`];
//! 3. once a second [`DataPlane::follow_devices`];
//! 4. drop it: unless the data plane is pinned ([`DataPlane::load_pinned`]), links die with their
//!    descriptors, so that nothing outlives the process even after `kill -9`, but for a clsact filter
//!    on kernels before 6.6, which a later start removes.
//!
//! Every kernel time is turned into wall time by the caller's one
//! [`Clock`](crate::source::live::Clock).

mod attach;
mod capabilities;
mod error;
mod flows;
mod generation;
mod guard;
mod inspect;
mod law;
mod lists;
mod load;
mod netlink;
mod options;
mod pin;
mod plane;
mod rings;
mod self_test;
mod slots;
mod sys;
mod takeover;

pub use attach::{Attachment, DeviceChange, Egress, XdpMode};
pub use error::{AttachError, GenerationError, LoadError, PlaneError};
pub use generation::{DeviceTotals, FlowSums, Generation, UNKNOWN_DEVICE};
pub use guard::TcpSettings;
pub use inspect::{DeviceFacts, inspect};
pub use options::{AttachOptions, EgressOption, Grace, GuardTables, LoadOptions, ModeOption};
pub use pin::{PinError, Pinned};
pub use plane::{DataPlane, LoadedProgram, Polled, ProgramStats};
pub use self_test::{SelfTest, SelfTestError};
pub use takeover::Takeover;
