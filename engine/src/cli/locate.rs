//! `piccolo locate KEY`: where a key lives.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;

use clap::Args;

use super::error::CliError;
use super::table::Table;
use super::{AskFlags, Output, http, write_json};
use crate::admin::routes::LocateReply;

/// Which key, and whom to ask.
#[derive(Args, Debug, Clone)]
pub struct LocateFlags {
    /// The key, byte for byte; it need not exist
    pub key: OsString,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskFlags,
}

/// Asks a node and shows what it says.
///
/// # Errors
///
/// If the node cannot be asked, or the answer not be written.
pub fn run(flags: LocateFlags, out: &mut dyn Write) -> Result<(), CliError> {
    let key = http::percent_encoded(&flags.key.into_vec());
    let path = format!("/v1/cluster/ring/locate?key={key}");
    let located: LocateReply = http::get(&flags.ask.admin, &path, http::PATIENCE)?;
    match flags.ask.output {
        Output::Json => write_json(out, &located),
        Output::Table => draw(&located, out),
    }
}

fn draw(located: &LocateReply, out: &mut dyn Write) -> Result<(), CliError> {
    let mut table = Table::new(&["KEY", "SLOT", "LEADER", "CLIENT", "SHOULD BE"]);
    table.row([
        located.key.replace(char::is_control, "?"),
        located.slot.to_string(),
        located.leader.clone().unwrap_or_default(),
        located.client.clone().unwrap_or_default(),
        located.desired.clone().unwrap_or_default(),
    ]);
    table.write(out).map_err(CliError::Output)
}
