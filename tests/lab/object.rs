use anyhow::{Context as _, Result};
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use sensor_ebpf::lab::program;

use crate::Namespace;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../sensor-ebpf/prebuilt/lab.bpf.o");

static BENCH: &[u8] = aya::include_bytes_aligned!("../../sensor-ebpf/prebuilt/bench.bpf.o");

/// In the benches' object: counts flows as simply as it can be done exactly, and drops.
const REFERENCE: &str = "reference_tap";

/// A fresh instance of the lab's own BPF object: programs and maps of its own.
///
/// # Errors
/// Without CAP_BPF and CAP_NET_ADMIN.
pub fn object() -> Result<Ebpf> {
    EbpfLoader::new()
        .load(OBJECT)
        .context("cannot load the lab's BPF object")
}

/// Names of the programs at a device's TCX hooks in the order in which they run: ingress, egress.
///
/// # Errors
/// Below Linux 6.6, and without CAP_SYS_ADMIN.
pub fn classifiers(namespace: &Namespace, device: &str) -> Result<[Vec<String>; 2]> {
    let at = |hook| -> Result<Vec<String>> {
        let (_, programs) = SchedClassifier::query_tcx(device, hook)?;
        let name = |program: &aya::programs::ProgramInfo| {
            program.name_as_str().unwrap_or_default().to_owned()
        };
        Ok(programs.iter().map(name).collect())
    };
    namespace.enter(|| Ok([at(TcAttachType::Ingress)?, at(TcAttachType::Egress)?]))?
}

/// Attaches an XDP program natively; the object owns the link.
pub(crate) fn attach_xdp(
    object: &mut Ebpf,
    name: &str,
    namespace: &Namespace,
    device: &str,
) -> Result<()> {
    let program: &mut Xdp = object
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?
        .try_into()?;
    // The same program goes to several devices.
    if program.fd().is_err() {
        program
            .load()
            .with_context(|| format!("cannot load {name}"))?;
    }
    namespace
        .enter(|| program.attach(device, XdpMode::Driver))?
        .with_context(|| format!("cannot attach {name} to {device}"))?;
    Ok(())
}

/// An XDP program of somebody else on a device, until dropped.
#[derive(Debug)]
pub struct ForeignProgram {
    _object: Ebpf,
}

impl ForeignProgram {
    /// Attaches one of the lab's programs (see [`program`]) to `device`.
    ///
    /// # Errors
    /// If the device has an XDP program already.
    pub fn attach(namespace: &Namespace, device: &str, name: &str) -> Result<Self> {
        let mut object = object()?;
        attach_xdp(&mut object, name, namespace, device)?;
        Ok(Self { _object: object })
    }

    /// One that passes every packet.
    ///
    /// # Errors
    /// If the device has an XDP program already.
    pub fn pass(namespace: &Namespace, device: &str) -> Result<Self> {
        Self::attach(namespace, device, program::PASS)
    }

    /// One that drops every packet: the bench's baseline.
    ///
    /// # Errors
    /// If the device has an XDP program already.
    pub fn drop_all(namespace: &Namespace, device: &str) -> Result<Self> {
        Self::attach(namespace, device, program::DROP)
    }

    /// One that counts flows in one hash table by two additions, and drops every packet: what
    /// exact counting costs at least.
    ///
    /// # Errors
    /// If the device has an XDP program already.
    pub fn count_and_drop(namespace: &Namespace, device: &str) -> Result<Self> {
        let mut object = EbpfLoader::new()
            .load(BENCH)
            .context("cannot load the benches' BPF object")?;
        attach_xdp(&mut object, REFERENCE, namespace, device)?;
        Ok(Self { _object: object })
    }
}
