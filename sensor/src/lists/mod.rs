//! Allow and block lists: who is listed, why, until when. No I/O and no clock of its own.
//!
//! [`Lists`] is the model: entries from commands, the configuration, feeds and detectors. It is
//! [compiled](Lists::compile) to [`Compiled`], the flat form that the kernel looks up, which
//! [`crate::bpf::DataPlane::set_lists`] puts into force. `docs/lists.md` tells operators.

mod bitmap;
mod compile;
mod counters;
mod entry;
mod feed;
mod model;
mod record;
mod remains;
mod settings;
mod target;

pub use compile::Compiled;
pub use entry::{Entry, Key, List, ListError, NewEntry, Source};
pub use feed::{BadLine, Feed};
pub use model::Lists;
pub use settings::ListSettings;
pub use target::{Prefix, Target, TargetError};

pub(crate) use bitmap::Bitmap;
pub(crate) use record::Record;
pub(crate) use remains::Remains;
pub(crate) use settings::FeedFile;
