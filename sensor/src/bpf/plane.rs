//! The loaded data plane.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
    time::Duration,
};

use sensor_ebpf::{
    abi::{FilterPrefix, FlowKey, SampleHeader, Settings, mode},
    sampling::{State, Verdict},
};

use super::{
    AttachError, AttachOptions, Attachment, DeviceChange, Generation, GenerationError, LoadError,
    LoadOptions, PinError, PlaneError, Takeover,
    attach::{Attached, Installer, attach, follow},
    load::{Loaded, load},
    netlink, takeover,
};
use crate::source::live::Clock;

/// The loaded BPF object with its maps, rings and links. See the [module](super) for its use.
#[derive(Debug)]
pub struct DataPlane {
    // Dropped first: the links go before the maps.
    attached: Vec<Attached>,
    pub(super) loaded: Loaded,
    /// As the caller wants them; the mode bits for mirror ports and the kill switch are ours.
    pub(super) settings: Settings,
    /// What was found pinned.
    takeover: Option<Takeover>,
}

/// What one round over the sample rings gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Records taken out of the rings.
    pub records: usize,
    /// Those of them that were too short to be one, and were dropped (0 unless kernel and user
    /// space disagree), or that a version with another layout of records has left behind.
    pub malformed: usize,
    /// Kernel time (`CLOCK_MONOTONIC`, nanoseconds) before which every record of every ring has
    /// been handed out: the watermark of [`crate::source::live::Source::release`].
    pub frontier_ns: u64,
    /// Rings may hold more: poll again without waiting.
    pub more: bool,
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
    /// XDP, linear variant.
    XdpLinear,
    /// Egress classifier.
    Egress,
}

impl DataPlane {
    /// Loads the embedded BPF object: maps, rings, programs. Nothing is attached yet, and until
    /// [`DataPlane::apply`] nothing is sampled.
    ///
    /// Egress filters that a killed process has left on any device without an XDP program are
    /// removed.
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
        let mut settings = Settings::default();
        if taken.as_ref().is_some_and(|taken| !taken.replaced) {
            let read = loaded.settings.get(0);
            settings = read.map_err(|source| LoadError::Map {
                what: "settings".into(),
                source,
            })?;
        }
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

    /// Attaches the programs to `device`, natively if it can be.
    ///
    /// # Errors
    /// [`AttachError`]: a line with cause and remedy. The device is left as it was.
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
        }
        let epoch = self.loaded.generations.epoch();
        let Loaded {
            programs,
            slots,
            pins,
            ..
        } = &mut self.loaded;
        let installer = Installer {
            programs,
            pins: pins.as_ref().map(|pins| &pins.directory),
        };
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
        Installer {
            programs,
            pins: pins.as_ref().map(|pins| &pins.directory),
        }
    }

    /// Whether the data plane stays when this process ends.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        self.loaded.pins.is_some()
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
        let installer = Installer {
            programs,
            pins: pins.as_ref().map(|pins| &pins.directory),
        };
        let changes = follow(&mut self.attached, installer, slots, epoch);
        self.save();
        changes
    }

    /// Puts new settings of the sampling into force, without detaching. What attachments, guard,
    /// lists and kill switch own of the settings is kept, whatever `settings` says.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn apply(&mut self, settings: &Settings) -> Result<(), PlaneError> {
        let ours = mode::TAP | mode::PASS_ALL;
        self.settings = Settings {
            mode: settings.mode & !ours | self.settings.mode & ours,
            lists_generation: self.settings.lists_generation,
            guard: self.settings.guard,
            destinations: self.settings.destinations,
            ..*settings
        };
        self.settings_changed().map_err(failed("settings"))
    }

    /// Puts `settings` into force.
    pub(super) fn settings_changed(&self) -> io::Result<()> {
        // Before the first device is attached, programs that were taken over go on as they were.
        let tap = if self.attached.is_empty() {
            self.settings.mode & mode::TAP != 0
        } else {
            self.attached.iter().any(|attached| attached.attachment.tap)
        };
        self.write_settings(tap)
    }

    /// Replaces the sampling filters, of which [`mode::FILTER_ADDRESSES`] and
    /// [`mode::FILTER_PORTS`] switch on the use.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses an entry, as it does when there are too many.
    pub fn set_filters(
        &mut self,
        addresses: &[FilterPrefix],
        ports: &[u16],
    ) -> Result<(), PlaneError> {
        let Loaded {
            filter_addresses,
            filter_ports,
            ..
        } = &mut self.loaded;
        filter_addresses
            .replace(addresses)
            .map_err(failed("address filter"))?;
        filter_ports.replace(ports).map_err(failed("port filter"))
    }

    /// Tells the sampling what is wanted of one flow direction, until it is told otherwise or the
    /// flow is forgotten. A flow that is sampled learns of it at its next sample, any other in the
    /// next generation.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn set_verdict(&mut self, key: &FlowKey, verdict: Verdict) -> Result<(), PlaneError> {
        self.loaded
            .flow_state
            .set(key, &State::of(verdict).0)
            .map_err(failed("sampling verdict"))
    }

    fn write_settings(&self, tap: bool) -> io::Result<()> {
        let mut settings = self.settings;
        settings.mode &= !mode::TAP;
        if tap {
            settings.mode |= mode::TAP;
        }
        self.loaded.settings.set(0, &settings)
    }

    /// Closes the generation that is counted into, and reads it. Takes tens of milliseconds, most
    /// of it waiting for programs that still run. The result's memory is reused by the next call,
    /// which also takes this generation for recorded.
    ///
    /// The first generations after a takeover are those that nobody has recorded.
    ///
    /// # Errors
    /// [`GenerationError`]; nothing is lost, the next call goes on with the same generation.
    pub fn close_generation(&mut self, clock: &Clock) -> Result<&Generation, GenerationError> {
        self.record_generation()?;
        let Loaded {
            generations,
            slots,
            previous,
            ..
        } = &mut self.loaded;
        match previous.first_mut() {
            Some(previous) if previous.is_readable() => previous.close(slots, clock),
            _ => generations.close(slots, clock),
        }
    }

    /// Deletes the records of the generation that was closed last from the kernel, because they
    /// are in good hands: `untold_packets` of all that were recorded so far are in no event yet,
    /// and would be lost to events if this process died now.
    ///
    /// # Errors
    /// [`GenerationError`]; nothing is lost, the next call goes on with the same generation.
    pub fn generation_recorded(&mut self, untold_packets: u64) -> Result<(), GenerationError> {
        if let Some(pins) = &mut self.loaded.pins {
            pins.head().untold_packets = untold_packets;
        }
        self.record_generation()?;
        self.save();
        Ok(())
    }

    fn record_generation(&mut self) -> Result<(), GenerationError> {
        let Loaded {
            generations,
            slots,
            pins,
            previous,
            rings,
            ..
        } = &mut self.loaded;
        if let Some(first) = previous.first_mut().filter(|first| first.is_readable()) {
            first.recorded(slots)?;
            if first.is_done()
                && let Err(error) = previous.remove(0).remove()
            {
                tracing::warn!("What was drained of an earlier data plane stays: {error}");
            }
            if previous.is_empty() {
                rings.release();
            }
            return Ok(());
        }
        let Some(epoch) = generations.read() else {
            return Ok(());
        };
        if let Some(pins) = pins {
            pins.recorded(epoch, generations.packets(), slots)
                .map_err(|source| GenerationError {
                    epoch,
                    step: "recording how far it was read",
                    source,
                })?;
        }
        generations.recorded(slots)
    }

    /// Hands out up to `budget` records of the sample rings, round robin, oldest of each ring
    /// first. The bytes are valid during the call only.
    pub fn poll_samples(
        &mut self,
        budget: usize,
        sink: impl FnMut(&SampleHeader, &[u8]),
    ) -> Polled {
        self.loaded.rings.poll(budget, u64::MAX, sink)
    }

    /// [`DataPlane::poll_samples`] that leaves what belongs to the generation that is open to the
    /// process that will close it.
    pub fn poll_closed_samples(
        &mut self,
        budget: usize,
        sink: impl FnMut(&SampleHeader, &[u8]),
    ) -> Polled {
        let last = self.loaded.generations.epoch() - 1;
        self.loaded.rings.poll(budget, last, sink)
    }

    /// Waits until a ring asks to be read, at most for `timeout`. Programs wake user space once
    /// for many records, so poll the rings at a timeout, too.
    ///
    /// # Errors
    /// [`PlaneError`] if `poll(2)` fails; a signal is not an error.
    pub fn wait(&self, timeout: Duration) -> Result<bool, PlaneError> {
        self.loaded
            .rings
            .wait(timeout)
            .map_err(failed("wait for samples"))
    }

    /// Descriptors of the rings for an event loop of the caller's own: readable means "poll".
    pub fn ring_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.loaded.rings.fds()
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
            LoadedProgram::XdpLinear => self.loaded.programs.xdp_linear.as_fd(),
            LoadedProgram::Egress => self.loaded.programs.egress.as_fd(),
        }
    }

    /// For tests: loses flows of the generation that is counted into.
    #[doc(hidden)]
    pub fn lose_flows(&mut self) {
        self.loaded.generations.lose_flows();
    }
}

pub(super) fn failed(what: &'static str) -> impl FnOnce(io::Error) -> PlaneError {
    move |source| PlaneError { what, source }
}

/// Removes what a killed process has left, on devices that no other sensor is attached to: one
/// that runs has its XDP program there.
fn sweep() {
    let devices = match netlink::device::Device::all() {
        Ok(devices) => devices,
        Err(error) => {
            tracing::warn!(%error, "Could not look for old egress filters");
            return;
        }
    };
    for device in devices.iter().filter(|device| device.xdp.is_none()) {
        match netlink::tc::remove(device.index) {
            Ok(false) => {}
            Ok(true) => {
                let device = device.name.as_str();
                tracing::info!(
                    device,
                    "Removed the egress filter of a process that was killed"
                );
            }
            Err(error) => {
                let device = device.name.as_str();
                tracing::debug!(device, %error, "Could not look for an old egress filter");
            }
        }
    }
}
