//! The object's programs: loaded, and what the verifier says of them.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::{
    Ebpf,
    programs::{Program, ProgramError},
};
use sensor_ebpf::abi::program;

use crate::bpf::{LoadError, ProgramStats, capabilities};

/// Descriptors of the loaded programs.
#[derive(Debug)]
pub(in crate::bpf) struct Programs {
    pub(in crate::bpf) ingress: IngressPrograms,
    pub(in crate::bpf) egress: OwnedFd,
}

/// What meets received packets.
#[derive(Debug)]
pub(in crate::bpf) enum IngressPrograms {
    Xdp(XdpPrograms),
    /// A classifier, see [`LoadOptions::passive`](crate::bpf::LoadOptions::passive).
    Passive(OwnedFd),
}

#[derive(Debug)]
pub(in crate::bpf) struct XdpPrograms {
    /// Takes multi-buffer frames; `None` where the kernel knows none (below 5.18).
    pub(in crate::bpf) multi: Option<OwnedFd>,
    /// The same for drivers that refuse multi-buffer programs.
    pub(in crate::bpf) linear: OwnedFd,
}

impl Programs {
    pub(in crate::bpf) const fn are_passive(&self) -> bool {
        matches!(self.ingress, IngressPrograms::Passive(_))
    }
}

/// Loads what is going to be attached; the verifier takes its time for each program.
pub(super) fn programs(
    object: &mut Ebpf,
    passive: bool,
    stats: &mut Vec<ProgramStats>,
) -> Result<Programs, LoadError> {
    let ingress = if passive {
        IngressPrograms::Passive(load_program(object, program::INGRESS, stats)?)
    } else {
        let multi = match load_program(object, program::XDP, stats) {
            Ok(fd) => Some(fd),
            Err(error) => {
                tracing::warn!(%error, "No multi-buffer XDP here; jumbo frames need it");
                None
            }
        };
        IngressPrograms::Xdp(XdpPrograms {
            multi,
            linear: load_program(object, program::XDP_LINEAR, stats)?,
        })
    };
    Ok(Programs {
        ingress,
        egress: load_program(object, program::EGRESS, stats)?,
    })
}

pub(in crate::bpf) fn load_program(
    object: &mut Ebpf,
    name: &'static str,
    stats: &mut Vec<ProgramStats>,
) -> Result<OwnedFd, LoadError> {
    let missing = LoadError::Missing {
        kind: "program",
        name,
    };
    let program = object.program_mut(name).ok_or(missing)?;
    match program {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(classifier) => classifier.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|error| refused_program(name, error))?;
    let as_object_error = |error: ProgramError| LoadError::Object(error.to_string());
    let info = program.info().map_err(as_object_error)?;
    stats.push(ProgramStats {
        name,
        verified_instructions: info.verified_instruction_count().unwrap_or(0),
        translated_bytes: info.size_translated().unwrap_or(0),
        jited_bytes: info.size_jitted(),
    });
    let fd = program.fd().map_err(as_object_error)?;
    fd.as_fd()
        .try_clone_to_owned()
        .map_err(|error| LoadError::Object(error.to_string()))
}

fn refused_program(name: &'static str, error: ProgramError) -> LoadError {
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = &error
    {
        if io_error.raw_os_error() == Some(libc::EPERM) {
            return LoadError::Capabilities {
                missing: capabilities::explain_refusal(&[
                    capabilities::BPF,
                    capabilities::NET_ADMIN,
                    capabilities::PERFMON,
                ]),
            };
        }
        let log = verifier_log.to_string();
        let lines = log.lines().count();
        let tail: Vec<_> = log.lines().skip(lines.saturating_sub(3)).collect();
        return LoadError::Verifier {
            program: name,
            message: format!("{io_error}: {}", tail.join("; ")),
        };
    }
    LoadError::Object(error.to_string())
}
