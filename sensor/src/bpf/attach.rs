//! What attaching gives back.

/// A device on which the programs run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name now.
    pub device: String,
    /// Its index now.
    pub ifindex: u32,
    /// Where XDP runs.
    pub mode: XdpMode,
    /// The program takes multi-buffer frames (jumbo MTU, LRO).
    pub frags: bool,
    /// Why native mode was not to be had, if it was asked for or allowed.
    pub fallback: Option<String>,
    /// How sent packets are counted.
    pub egress: Egress,
    /// A mirror port.
    pub tap: bool,
}

/// Where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, on each frame.
    Native,
    /// In the stack, after GRO: packets that were merged count as one.
    Generic,
}

impl XdpMode {
    /// `native` or `generic`, as in `sensor_xdp_attach_info{mode}`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// How packets that the host sends are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Egress {
    /// A TCX link, which dies with the process.
    Tcx,
    /// A clsact filter under our own priority and handle, which the next start removes if this
    /// process does not.
    Clsact,
    /// Not at all, and why.
    None(String),
}

impl Egress {
    /// `tcx`, `clsact` or `none`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::None(_) => "none",
        }
    }
}

/// What happened to an attached device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChange {
    /// It vanished. Its name is watched for its return.
    Vanished {
        /// The name.
        device: String,
        /// Its last index.
        ifindex: u32,
    },
    /// A device of that name is there again, and attached.
    Returned(Attachment),
    /// A device of that name is there again, and cannot be attached; tried again later.
    Failed {
        /// The name.
        device: String,
        /// Why.
        reason: String,
    },
    /// The device has another name, and stays attached.
    Renamed {
        /// The name before.
        from: String,
        /// The name now.
        to: String,
        /// Its index.
        ifindex: u32,
    },
}
