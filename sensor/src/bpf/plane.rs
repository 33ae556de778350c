//! The loaded data plane.

use std::{os::fd::BorrowedFd, time::Duration};

use sensor_ebpf::abi::{SampleHeader, Settings};

use super::{
    AttachError, AttachOptions, Attachment, DeviceChange, Generation, GenerationError, LoadError,
    LoadOptions, PlaneError,
};
use crate::source::live::Clock;

/// The loaded BPF object with its maps, rings and links. See the [module](super) for its use.
#[derive(Debug)]
pub struct DataPlane {
    never: std::convert::Infallible,
}

/// What one round over the sample rings gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Records handed out.
    pub records: usize,
    /// Records too short to be one, which are dropped (0 unless kernel and user space disagree).
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

#[expect(unused_variables, reason = "API ahead of its implementation")]
impl DataPlane {
    /// Loads the embedded BPF object: maps, rings, programs. Nothing is attached yet.
    ///
    /// # Errors
    /// [`LoadError`]: a line with cause and remedy.
    pub fn load(options: LoadOptions) -> Result<Self, LoadError> {
        Err(LoadError::Object("not part of this build".into()))
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
        match self.never {}
    }

    /// Detaches `device`; what was counted there still appears in the generations that are open.
    /// Returns whether it was attached.
    pub fn detach(&mut self, device: &str) -> bool {
        match self.never {}
    }

    /// The devices that are attached now.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        std::iter::empty()
    }

    /// Looks after the attached devices: to be called about once a second.
    pub fn follow_devices(&mut self) -> Vec<DeviceChange> {
        match self.never {}
    }

    /// Puts new settings into force, without detaching. The bit [`sensor_ebpf::abi::mode::TAP`]
    /// is kept as the attachments need it, whatever `settings` says.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn apply(&mut self, settings: &Settings) -> Result<(), PlaneError> {
        match self.never {}
    }

    /// Closes the generation that is counted into, and reads it. Takes tens of milliseconds, most
    /// of it waiting for programs that still run. The result's memory is reused by the next call.
    ///
    /// # Errors
    /// [`GenerationError`]; nothing is lost, the next call reads the same generation.
    pub fn close_generation(&mut self, clock: &Clock) -> Result<&Generation, GenerationError> {
        match self.never {}
    }

    /// Hands out up to `budget` records of the sample rings, round robin, oldest of each ring
    /// first. The bytes are valid during the call only.
    pub fn poll_samples(
        &mut self,
        budget: usize,
        sink: impl FnMut(&SampleHeader, &[u8]),
    ) -> Polled {
        match self.never {}
    }

    /// Waits until a ring asks to be read, at most for `timeout`. Programs wake user space once
    /// for many records, so poll the rings at a timeout, too.
    ///
    /// # Errors
    /// [`PlaneError`] if `poll(2)` fails; a signal is not an error.
    pub fn wait(&self, timeout: Duration) -> Result<bool, PlaneError> {
        match self.never {}
    }

    /// Descriptors of the rings for an event loop of the caller's own: readable means "poll".
    pub fn ring_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::empty()
    }

    /// The loaded programs.
    #[must_use]
    pub fn programs(&self) -> &[ProgramStats] {
        match self.never {}
    }

    /// Entries that the flow table of one generation can hold.
    #[must_use]
    pub fn flow_table_capacity(&self) -> u32 {
        match self.never {}
    }
}
