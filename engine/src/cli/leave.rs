//! `piccolo leave`: makes a node hand over its keys and go.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::deadline::{Deadline, pause};
use super::error::CliError;
use super::{AskFlags, Output, http, write_json};
use crate::admin::status::{MemberState, Status};
use crate::plural::counted;

/// How often the node is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Whom to send away, and how long to watch.
#[derive(Args, Debug, Clone)]
pub struct LeaveFlags {
    /// Whom to send away.
    #[command(flatten)]
    pub ask: AskFlags,
    /// Seconds to watch it go; it goes on by itself after that
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
}

/// Asks the node to leave and waits until it has gone.
///
/// # Errors
///
/// If the node cannot be asked or refuses, if it has not gone in time or took slots along, or if
/// the answer cannot be written.
pub fn run(flags: &LeaveFlags, out: &mut dyn Write) -> Result<(), CliError> {
    let admin = &flags.ask.admin;
    let table = flags.ask.output == Output::Table;
    let mut status: Status = http::get(admin, "/v1/node", http::PATIENCE)?;
    http::post(admin, "/v1/node/leave", http::PATIENCE)?;
    let deadline = Deadline::after(Duration::from_secs(flags.wait));
    let mut told = None;
    while deadline.left().is_some() {
        match http::get::<Status>(admin, "/v1/node", http::PATIENCE) {
            Ok(now) if now.id != status.id || has_left(&now) => return gone(flags, &status, out),
            Ok(now) => status = now,
            Err(CliError::Unreachable { closed: true, .. }) => return gone(flags, &status, out),
            // Busy moving: it may answer next time. Or it took the connection and ended before it
            // read: then nobody will be there.
            Err(CliError::Unreachable { .. } | CliError::NotANode { .. }) => {}
            Err(error) => return Err(error),
        }
        let slots = status.slots_led();
        if table && told != Some(slots) {
            told = Some(slots);
            writeln!(
                out,
                "{}: {} to hand over",
                status.name,
                counted(slots as usize, "slot", "slots")
            )
            .and_then(|()| out.flush())
            .map_err(CliError::Output)?;
        }
        pause(ASK_EVERY);
    }
    let slots = status.slots_led();
    Err(CliError::StillLeaving { name: status.name, slots, seconds: flags.wait })
}

fn has_left(status: &Status) -> bool {
    let own = status.members.iter().find(|member| member.name == status.name);
    own.is_some_and(|member| member.state == MemberState::Left)
}

/// A node that handed everything over shows that for a while before it goes.
fn gone(flags: &LeaveFlags, status: &Status, out: &mut dyn Write) -> Result<(), CliError> {
    let slots = status.slots_led();
    if slots > 0 {
        return Err(CliError::NotHandedOver { name: status.name.clone(), slots });
    }
    match flags.ask.output {
        Output::Json => write_json(out, &serde_json::json!({ "left": status.name })),
        Output::Table => writeln!(out, "{} has left", status.name).map_err(CliError::Output),
    }
}
