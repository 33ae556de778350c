//! The order of events, which does not depend on how flows are spread over engines.

/// An event's place among all events of the same input: to sort events by it is to put them into
/// the order in which one engine with all flows emits them.
///
/// That holds for captures. Who shares out a drain has to number its entries before, by their
/// order in the whole of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// What brought the event about: the number of the frame, drain or tick among all that the
    /// engine was given, and of the step of its work on it.
    pub moment: Moment,
    /// Where one step concerns many flows, as time-outs do: when the event's flow began. Else the
    /// same for all.
    pub born: Moment,
    /// Number among the events of the same step and flow.
    pub index: u32,
}

/// A step of an engine's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Number of the input, from 1.
    pub input: u64,
    pub step: u32,
}
