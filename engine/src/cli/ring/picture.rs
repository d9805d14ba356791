//! The 16384 slots as rows of letters, one letter for each node.

use std::io::{self, Write};

use piccolo_schema::ids::Slot;

use crate::admin::status::{MemberState, RangeStatus, SlotRangeStatus};

/// Rows of the picture: each is a sixteenth of the ring, 1024 slots.
const ROWS: usize = 16;
const SLOTS_PER_ROW: usize = Slot::COUNT as usize / ROWS;

/// Columns that the number before each row takes.
const MARGIN: usize = 8;

/// Slots from one mark of the scale to the next: the first that leaves the marks enough room.
const SCALE_STEPS: [usize; 4] = [64, 128, 256, 512];
/// Columns from one mark of the scale to the next: the longest one, and a gap.
const SCALE_COLUMNS_MIN: usize = 8;

/// Colours of the terminal, told apart by most people; none is black or white.
const COLOURS: [u8; 12] = [33, 208, 35, 201, 220, 45, 160, 118, 99, 180, 30, 213];

/// The letter of the node at `index`. There are 26; further nodes begin anew, in other colours.
pub fn letter(index: usize) -> char {
    char::from(b'A' + (index % 26) as u8)
}

/// Who should lead each slot, and whether they do.
#[derive(Debug)]
pub struct Picture {
    slots: Vec<Painted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Painted {
    /// Index of the node that should lead; none if nobody should.
    desired: Option<usize>,
    seat: Seat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Seat {
    /// Nobody leads.
    #[default]
    Empty,
    /// The one who leads does not answer.
    Silent,
    /// Somebody else leads.
    Other,
    /// The one who should lead does.
    Right,
}

impl Painted {
    fn letter(self) -> char {
        match (self.desired, self.seat) {
            (Some(index), Seat::Right) => letter(index),
            (Some(index), Seat::Other) => letter(index).to_ascii_lowercase(),
            (_, Seat::Silent) => '!',
            _ => '.',
        }
    }
}

impl Picture {
    /// A picture in which node `i` of `nodes`, each a name and a state, has the letter `i`.
    pub fn of(
        ring: &[RangeStatus],
        leaders: &[SlotRangeStatus],
        nodes: &[(&str, MemberState)],
    ) -> Self {
        let index = |name: &str| nodes.iter().position(|(other, _)| *other == name);
        let mut slots = vec![Painted::default(); Slot::COUNT.into()];
        for range in ring {
            let desired = range.owners.first().and_then(|owner| index(owner));
            for slot in slots.iter_mut().take(usize::from(range.last) + 1).skip(range.first.into())
            {
                slot.desired = desired;
            }
        }
        for range in leaders {
            let Some(leader) = &range.leader else { continue };
            let leader = index(leader);
            let state = leader.and_then(|index| nodes.get(index)).map(|&(_, state)| state);
            // One that is not listed is a former life of a member.
            let silent = state.is_none_or(is_silent);
            for slot in slots.iter_mut().take(usize::from(range.last) + 1).skip(range.first.into())
            {
                let right = leader.is_some() && slot.desired == leader;
                slot.seat = match (silent, right) {
                    (true, _) => Seat::Silent,
                    (false, true) => Seat::Right,
                    (false, false) => Seat::Other,
                };
            }
        }
        Self { slots }
    }

    /// Draws it, at most `columns` wide, with a scale below and what its signs mean.
    ///
    /// # Errors
    ///
    /// As `out`.
    pub fn draw(&self, columns: usize, coloured: bool, out: &mut dyn Write) -> io::Result<()> {
        let cells = columns.saturating_sub(MARGIN).clamp(16, SLOTS_PER_ROW);
        self.draw_rows(cells, coloured, out)?;
        writeln!(out, "{:MARGIN$}{}", "", scale(cells))?;
        let about = if SLOTS_PER_ROW.is_multiple_of(cells) { "" } else { "about " };
        let slots = SLOTS_PER_ROW / cells;
        write!(out, "  a letter is the node that should lead {about}{slots} slots, ")?;
        writeln!(out, "small where another does;")?;
        writeln!(out, "  ! where their leader does not answer, . where nobody leads them")
    }

    fn draw_rows(&self, cells: usize, coloured: bool, out: &mut dyn Write) -> io::Result<()> {
        for (row, slots) in self.slots.chunks(SLOTS_PER_ROW).enumerate() {
            write!(out, "{:>6}  ", row * SLOTS_PER_ROW)?;
            let mut colour = None;
            for cell in 0..cells {
                let (from, to) = (cell * slots.len() / cells, (cell + 1) * slots.len() / cells);
                let painted = most(slots.get(from..to).unwrap_or_default());
                if coloured && painted.desired != colour {
                    colour = painted.desired;
                    let code = colour.and_then(|index| COLOURS.get(index % COLOURS.len()));
                    match code {
                        Some(code) => write!(out, "\x1b[38;5;{code}m")?,
                        None => write!(out, "\x1b[0m")?,
                    }
                }
                write!(out, "{}", painted.letter())?;
            }
            writeln!(out, "{}", if coloured { "\x1b[0m" } else { "" })?;
        }
        Ok(())
    }
}

/// Whether a node gives no answer. The node asked takes it for the leader of what it led last
/// until it hears of another.
fn is_silent(state: MemberState) -> bool {
    matches!(state, MemberState::Suspect | MemberState::Dead | MemberState::Left)
}

/// How many slots behind the first of its row a column is.
fn scale(cells: usize) -> String {
    let roomy = |step: &&usize| *step * cells / SLOTS_PER_ROW >= SCALE_COLUMNS_MIN;
    let step = SCALE_STEPS.iter().find(roomy).copied().unwrap_or(SLOTS_PER_ROW);
    // The last column that begins at or before a slot; where columns begin is rounded down.
    let column = |slot: usize| ((slot + 1) * cells - 1) / SLOTS_PER_ROW;
    let mut line = String::new();
    for slot in (0..SLOTS_PER_ROW).step_by(step) {
        let mark = format!("+{slot}");
        let gap = column(slot).saturating_sub(line.len());
        line.extend(std::iter::repeat_n(' ', gap).chain(mark.chars()));
    }
    line
}

/// What most of `slots` are; the first in order among equals.
fn most(slots: &[Painted]) -> Painted {
    let mut sorted = slots.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a == b);
    let longest = runs.rev().max_by_key(|run| run.len());
    longest.and_then(|run| run.first().copied()).unwrap_or_default()
}
