//! Allow and block lists, from the model through the maps to the verdict of the XDP program, and
//! by command in a running sensor.

mod bed;
mod change;
mod command;
mod exempt;
mod guard;
mod reference;
mod time;
