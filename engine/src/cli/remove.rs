//! `piccolo remove`: gives up a dead member for good.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::deadline::{Deadline, pause};
use super::error::CliError;
use super::{AskFlags, Output, http, write_json};
use crate::admin::routes::FORCE;
use crate::admin::status::{MemberState, MemberStatus};

/// How often the node is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Seconds that the node may take to say that the member is gone; it needs some 0.1.
const WAIT_SECONDS: u64 = 5;

/// Whom to give up, and whom to tell.
#[derive(Args, Debug, Clone)]
pub struct RemoveFlags {
    /// Name of the dead member
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Remove it even if the node asked sees no majority of the members
    ///
    /// Make sure first that it does not run. If the node asked is the one that is cut off, the
    /// member's slots begin anew on its side, empty, and are served on both; the member ends as
    /// soon as it hears that it was removed, and all its keys are lost with it.
    #[arg(long)]
    pub force: bool,
    /// Any live node, which tells the others.
    #[command(flatten)]
    pub ask: AskFlags,
}

/// Asks a node to remove the member, and waits until it has.
///
/// # Errors
///
/// If the node cannot be asked or refuses, if it does not remove the member in time, or if the
/// answer cannot be written.
pub fn run(flags: &RemoveFlags, out: &mut dyn Write) -> Result<(), CliError> {
    let RemoveFlags { name, force, ask: AskFlags { admin, output } } = flags;
    let members = || http::get::<Vec<MemberStatus>>(admin, "/v1/cluster/members", http::PATIENCE);
    let id = members()?.into_iter().find(|member| member.name == *name).map(|member| member.id);
    let mut path = format!("/v1/cluster/members/{}", http::percent_encoded(name.as_bytes()));
    if *force {
        path.extend(["?", FORCE]);
    }
    http::delete(admin, &path, http::PATIENCE)?;
    let deadline = Deadline::after(Duration::from_secs(WAIT_SECONDS));
    loop {
        // Under this id: a later life may have the name by now.
        let state = members()?.iter().find(|m| Some(&m.id) == id.as_ref()).map(|m| m.state);
        match state {
            None | Some(MemberState::Left) => break,
            Some(MemberState::Dead) => {}
            Some(_) => return Err(CliError::CameBack { name: name.clone() }),
        }
        if deadline.left().is_none() {
            return Err(CliError::NotRemoved { name: name.clone(), seconds: WAIT_SECONDS });
        }
        pause(ASK_EVERY);
    }
    match output {
        Output::Json => write_json(out, &serde_json::json!({ "removed": name })),
        Output::Table => writeln!(out, "{name} is removed").map_err(CliError::Output),
    }
}
