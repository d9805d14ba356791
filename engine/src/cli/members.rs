//! `piccolo members`: who is in the cluster.

use std::io::Write;

use super::error::CliError;
use super::table::Table;
use super::{AskFlags, Output, http, write_json};
use crate::admin::status::MemberStatus;

/// Asks a node and shows what it says.
///
/// # Errors
///
/// If the node cannot be asked, or the answer not be written.
pub fn run(flags: &AskFlags, out: &mut dyn Write) -> Result<(), CliError> {
    let members: Vec<MemberStatus> =
        http::get(&flags.admin, "/v1/cluster/members", http::PATIENCE)?;
    match flags.output {
        Output::Json => write_json(out, &members),
        Output::Table => draw(&members, out),
    }
}

fn draw(members: &[MemberStatus], out: &mut dyn Write) -> Result<(), CliError> {
    let mut table =
        Table::new(&["NAME", "STATE", "CLIENT", "PEER", "ADMIN", "SHARDS", "WEIGHT", "ZONE", "ID"]);
    for member in members {
        table.row([
            member.name.clone(),
            member.state.word().into(),
            member.client.clone(),
            member.peer.clone(),
            member.admin.clone(),
            member.shards.to_string(),
            member.weight.to_string(),
            member.zone.clone(),
            member.id.clone(),
        ]);
    }
    table.write(out).map_err(CliError::Output)
}
