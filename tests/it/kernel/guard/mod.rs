//! The SYN-flood guard: each method, what it answers, and that whatever it does is accounted for.

mod bed;
mod cookie;
mod modes;
mod rate;
mod retransmission;
mod state;
