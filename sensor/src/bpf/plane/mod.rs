//! The loaded data plane.

mod guard;
mod lists;
mod reading;
mod settings;

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use sensor_ebpf::abi::Settings;

use super::{
    AttachError, AttachOptions, Attachment, DeviceChange, LoadError, LoadOptions, PinError,
    PlaneError, Takeover,
    attach::{Attached, Installer, attach, check_passive, follow, sweep, usable},
    load::{IngressPrograms, Loaded, load},
    takeover,
};

pub use reading::Polled;

/// The loaded BPF object with its maps, rings and links. See the [module](super) for its use.
#[derive(Debug)]
pub struct DataPlane {
    // Dropped first: the links go before the maps.
    attached: Vec<Attached>,
    pub(in crate::bpf) loaded: Loaded,
    /// As the caller wants them; the mode bits for mirror ports and the kill switch are ours.
    pub(in crate::bpf) settings: Settings,
    /// What was found pinned.
    takeover: Option<Takeover>,
}

/// One loaded program, as the verifier saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStats {
    /// Its name.
    pub name: &'static str,
    /// Instructions that the verifier walked (kernel 5.16), else 0.
    pub verified_instructions: u32,
    /// Bytes after translation.
    pub translated_bytes: u32,
    /// Bytes of machine code; 0 if the JIT compiler is off.
    pub jited_bytes: u32,
}

/// One of the loaded programs, for [`DataPlane::program_fd`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadedProgram {
    /// For received packets: XDP, linear variant, or what is passive.
    Ingress,
    /// Egress classifier.
    Egress,
}

impl DataPlane {
    /// Loads the embedded BPF object: maps, rings, programs. Nothing is attached yet, and until
    /// [`DataPlane::apply`] nothing is sampled.
    ///
    /// Egress filters that a killed process has left are removed from devices without a program at
    /// XDP or TCX ingress, which might be another sensor's.
    ///
    /// # Errors
    /// [`LoadError`]: a line with cause and remedy.
    pub fn load(options: LoadOptions) -> Result<Self, LoadError> {
        let loaded = load(options, None)?;
        sweep();
        Ok(Self {
            attached: Vec::new(),
            loaded,
            settings: Settings::default(),
            takeover: None,
        })
    }

    /// [`DataPlane::load`] for a data plane that is pinned in the folder `path`: it outlives this
    /// process, and one that is there already is taken over. [`DataPlane::attach`] then replaces
    /// the programs on devices; after the last one call [`DataPlane::settle`].
    ///
    /// # Errors
    /// [`LoadError`]: a line with cause and remedy. What is pinned is left as it was.
    pub fn load_pinned(options: LoadOptions, path: &Path) -> Result<Self, LoadError> {
        let mut loaded = load(options, Some(path))?;
        sweep();
        let taken = takeover::found(&loaded);
        let settings = if is_resumed(&loaded) {
            let settings = loaded.settings.get(0);
            settings.map_err(|source| LoadError::Map {
                what: "settings".into(),
                source,
            })?
        } else {
            takeover::inherit(&mut loaded)
        };
        takeover::catch_up(&mut loaded);
        Ok(Self {
            attached: Vec::new(),
            loaded,
            settings,
            takeover: taken,
        })
    }

    /// Lets go of what was pinned and is not attached any more, once everything is attached that
    /// shall be. From here on the data plane stays if this process ends. Returns what was taken
    /// over, if anything was; `None` without pinning.
    ///
    /// # Errors
    /// [`PinError`] if pins of an earlier process could not be removed.
    pub fn settle(&mut self) -> Result<Option<Takeover>, PinError> {
        let attached: Vec<_> = self
            .attached
            .iter()
            .map(|attached| (attached.slot, attached.attachment.ifindex))
            .collect();
        let lost = takeover::settle(&mut self.loaded, &attached)?;
        if let Some(taken) = &mut self.takeover {
            taken.lost_packets = lost;
        }
        self.save();
        Ok(self.takeover)
    }

    /// Whether [`DataPlane::attach`] would refuse `device`, as far as that can be known without doing
    /// it. Asked before anything is changed, it lets a start fail that leaves what is pinned as it
    /// was.
    ///
    /// # Errors
    /// [`AttachError`]: a line with cause and remedy.
    pub fn check(&self, device: &str, options: AttachOptions) -> Result<(), AttachError> {
        let Installer { programs, pins } = self.installer();
        let passive = programs.are_passive();
        let device = usable(device, options, passive, pins)?;
        if passive {
            check_passive(&device, pins)?;
        }
        Ok(())
    }

    /// Attaches the programs to `device`, XDP natively if it can be.
    ///
    /// # Errors
    /// [`AttachError`]: a line with cause and remedy. The device is left as it was, and what is
    /// pinned there goes on; but for a kernel that takes the first program of a link that changes
    /// place with one of the other mode, and refuses its second: then nothing is left on the device.
    pub fn attach(
        &mut self,
        device: &str,
        options: AttachOptions,
    ) -> Result<Attachment, AttachError> {
        if self
            .attached
            .iter()
            .any(|other| other.attachment.device == device)
        {
            return Err(AttachError::Twice {
                device: device.to_owned(),
            });
        }
        if self
            .attached
            .iter()
            .any(|other| other.attachment.tap != options.tap)
        {
            return Err(AttachError::TapMixed {
                device: device.to_owned(),
            });
        }
        if self.attached.is_empty() {
            // In force before the first packet.
            self.write_settings(options.tap)
                .map_err(|source| AttachError::System {
                    device: device.to_owned(),
                    what: "the settings could not be written",
                    source,
                })?;
            let Loaded { pins, slots, .. } = &mut self.loaded;
            if let Some(pins) = pins {
                pins.complete(slots).map_err(|source| AttachError::Pin {
                    device: device.to_owned(),
                    source,
                })?;
            }
        }
        let epoch = self.loaded.generations.epoch();
        let Loaded {
            programs,
            slots,
            pins,
            ..
        } = &mut self.loaded;
        let installer = Installer::new(programs, pins.as_ref());
        let attached = attach(device, options, installer, slots, epoch, false)?;
        let attachment = attached.attachment.clone();
        self.attached.push(attached);
        self.save();
        Ok(attachment)
    }

    /// Detaches `device`; what was counted there still appears in the generation that is open.
    /// Returns whether it was attached.
    pub fn detach(&mut self, device: &str) -> bool {
        let found = self
            .attached
            .iter()
            .position(|other| other.attachment.device == device);
        let Some(at) = found else {
            return false;
        };
        let attached = self.attached.remove(at);
        let (slot, attachment) = (attached.slot, attached.attachment.clone());
        drop(attached);
        self.installer().unpin(&attachment);
        let epoch = self.loaded.generations.epoch();
        self.loaded.slots.release(slot, epoch, false);
        self.save();
        true
    }

    fn installer(&self) -> Installer<'_> {
        let Loaded { programs, pins, .. } = &self.loaded;
        Installer::new(programs, pins.as_ref())
    }

    /// Whether the data plane stays when this process ends.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        self.loaded.pins.is_some()
    }

    /// Whether this goes on with the maps of an earlier process, by which programs on devices act at
    /// this moment: what is changed in them is in force at once.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        is_resumed(&self.loaded)
    }

    /// Tells the next process how things stand.
    fn save(&mut self) {
        let Loaded { pins, slots, .. } = &mut self.loaded;
        if let Some(pins) = pins
            && let Err(error) = pins.save(slots)
        {
            tracing::error!(%error, "The pinned state could not be written");
        }
    }

    /// The devices on which the programs run now.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attached
            .iter()
            .filter(|attached| attached.is_running())
            .map(|attached| &attached.attachment)
    }

    /// Looks after the attached devices: to be called about once a second.
    pub fn follow_devices(&mut self) -> Vec<DeviceChange> {
        let epoch = self.loaded.generations.epoch();
        let Loaded {
            programs,
            slots,
            pins,
            ..
        } = &mut self.loaded;
        let installer = Installer::new(programs, pins.as_ref());
        let changes = follow(&mut self.attached, installer, slots, epoch);
        self.save();
        changes
    }

    /// The loaded programs.
    #[must_use]
    pub fn programs(&self) -> &[ProgramStats] {
        &self.loaded.stats
    }

    /// Flows that the table of one generation was made for.
    #[must_use]
    pub const fn flow_table_capacity(&self) -> u32 {
        self.loaded.generations.capacity()
    }

    /// For tests: a program to run by `BPF_PROG_TEST_RUN`.
    #[doc(hidden)]
    #[must_use]
    pub fn program_fd(&self, program: LoadedProgram) -> BorrowedFd<'_> {
        match program {
            LoadedProgram::Ingress => match &self.loaded.programs.ingress {
                IngressPrograms::Xdp(programs) => programs.linear.as_fd(),
                IngressPrograms::Passive(program) => program.as_fd(),
            },
            LoadedProgram::Egress => self.loaded.programs.egress.as_fd(),
        }
    }
}

fn is_resumed(loaded: &Loaded) -> bool {
    let pins = loaded.pins.as_ref();
    pins.is_some_and(|pins| pins.found.is_some())
}

pub(in crate::bpf) fn failed(what: &'static str) -> impl FnOnce(io::Error) -> PlaneError {
    move |source| PlaneError { what, source }
}
