//! The little of rtnetlink that attaching needs: devices, addresses and clsact filters.

pub(super) mod device;
mod message;
mod socket;
pub(super) mod tc;

use message::{Attributes, Request};
use socket::Socket;
