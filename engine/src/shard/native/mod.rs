//! Clients that speak the native protocol: the same session behind another encoding.
//!
//! A request becomes an internal command, which mesh and links carry like any other; its reply is
//! put back into the native form here.

mod answer;

mod scan;
mod session;

pub(super) use session::Native;
