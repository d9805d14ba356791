//! `piccolo ring`: the ring as a picture, and each node's share of it.

mod picture;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use piccolo_schema::ids::Slot;
use serde::Serialize;

use super::error::CliError;
use super::table::Table;
use super::{AskFlags, Output, http, write_json};
use crate::admin::routes::RingReply;
use crate::admin::status::{MemberState, MemberStatus, SlotRangeStatus, Status};

pub use picture::{Picture, letter};

/// Columns of a terminal that does not say how wide it is.
const COLUMNS_DEFAULT: usize = 80;

/// How long each member may take to say how many keys it has.
const KEYS_PATIENCE: Duration = Duration::from_millis(500);

/// What `piccolo ring -o json` shows.
#[derive(Debug, Serialize)]
struct RingView {
    #[serde(flatten)]
    ring: RingReply,
    slots: Vec<SlotRangeStatus>,
    nodes: Vec<NodeShare>,
}

/// One node's part of the ring.
#[derive(Debug, Serialize)]
struct NodeShare {
    name: String,
    state: MemberState,
    /// Slots that it should lead.
    slots_desired: u32,
    /// Slots that it does lead.
    slots_led: u32,
    /// Keys in them; none if it could not be asked from here.
    keys: Option<u64>,
}

/// Asks a node and draws what it says.
///
/// # Errors
///
/// If the node cannot be asked, or the answer not be written.
pub fn run(flags: &AskFlags, out: &mut dyn Write) -> Result<(), CliError> {
    let ring: RingReply = http::get(&flags.admin, "/v1/cluster/ring", http::PATIENCE)?;
    let slots: Vec<SlotRangeStatus> = http::get(&flags.admin, "/v1/cluster/slots", http::PATIENCE)?;
    let members: Vec<MemberStatus> =
        http::get(&flags.admin, "/v1/cluster/members", http::PATIENCE)?;
    let keys = |member: &MemberStatus| keys_of(member);
    let view = RingView { nodes: shares(&ring, &slots, &members, keys), ring, slots };
    match flags.output {
        Output::Json => write_json(out, &view),
        Output::Table => {
            let terminal = std::io::stdout().is_terminal();
            let coloured = terminal && std::env::var_os("NO_COLOR").is_none();
            draw(&view, columns(terminal), coloured, out).map_err(CliError::Output)
        }
    }
}

/// Keys of a member, if its admin listener can be reached from here. On another machine the
/// same address may be another node's: only its own id counts.
fn keys_of(member: &MemberStatus) -> Option<u64> {
    let status: Status = http::get(&member.admin, "/v1/node", KEYS_PATIENCE).ok()?;
    (status.id == member.id).then(|| status.keys())
}

fn shares(
    ring: &RingReply,
    slots: &[SlotRangeStatus],
    members: &[MemberStatus],
    keys: impl Fn(&MemberStatus) -> Option<u64>,
) -> Vec<NodeShare> {
    let mut desired: BTreeMap<&str, u32> = BTreeMap::new();
    for range in &ring.ranges {
        if let Some(owner) = range.owners.first() {
            *desired.entry(owner).or_default() += count(range.first, range.last);
        }
    }
    let mut led: BTreeMap<&str, u32> = BTreeMap::new();
    for range in slots {
        if let Some(leader) = &range.leader {
            *led.entry(leader).or_default() += count(range.first, range.last);
        }
    }
    let share = |member: &MemberStatus| NodeShare {
        name: member.name.clone(),
        state: member.state,
        slots_desired: desired.get(member.name.as_str()).copied().unwrap_or(0),
        slots_led: led.get(member.name.as_str()).copied().unwrap_or(0),
        keys: keys(member),
    };
    members.iter().map(share).collect()
}

fn count(first: u16, last: u16) -> u32 {
    u32::from(last.saturating_sub(first)) + 1
}

fn draw(
    view: &RingView,
    columns: usize,
    coloured: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let nodes: Vec<(&str, MemberState)> =
        view.nodes.iter().map(|node| (node.name.as_str(), node.state)).collect();
    let picture = Picture::of(&view.ring.ranges, &view.slots, &nodes);
    picture.draw(columns, coloured, out)?;
    writeln!(out)?;
    let mut table = Table::new(&["", "NODE", "STATE", "SHARE", "SLOTS LED", "KEYS"]);
    for (index, node) in view.nodes.iter().enumerate() {
        let share = 100.0 * f64::from(node.slots_desired) / f64::from(Slot::COUNT);
        table.row([
            letter(index).to_string(),
            node.name.clone(),
            node.state.word().into(),
            format!("{share:.2} %"),
            node.slots_led.to_string(),
            node.keys.map_or_else(String::new, |keys| keys.to_string()),
        ]);
    }
    table.write(out)
}

/// Columns of the terminal: only `stty` can ask for them without unsafe code.
fn columns(terminal: bool) -> usize {
    let told = || {
        let stty = Command::new("stty").arg("size").stdin(Stdio::inherit()).output().ok()?;
        String::from_utf8(stty.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
    };
    if terminal { told().unwrap_or(COLUMNS_DEFAULT) } else { COLUMNS_DEFAULT }
}

#[cfg(test)]
mod tests;
