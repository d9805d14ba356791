//! What a verify has counted.

use std::io::{self, Write};

use serde::Serialize;

/// The counts of one worker, then of all.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Findings {
    /// Reads older than the last acknowledged write.
    pub(crate) lost: u64,
    /// Reads older than what the same reader had seen.
    pub(crate) stale: u64,
    /// Values that are not whole, not of this key, or of a write that was refused or
    /// not yet attempted.
    pub(crate) corrupt: u64,
    /// Error replies.
    pub(crate) errors: u64,
    pub(crate) attempted: u64,
    pub(crate) acknowledged: u64,
    /// Writes that were refused: they may not appear.
    pub(crate) refused: u64,
    /// Writes without an answer, or that the target could not tell of.
    pub(crate) unknown: u64,
    pub(crate) reads: u64,
    /// Reads at the end, after all writes; part of `reads`.
    pub(crate) read_back: u64,
    /// Keys that nobody could be made to read at the end.
    pub(crate) unread: u64,
    /// Connections that ended with requests under way, and between requests.
    pub(crate) cut: u64,
    pub(crate) closed: u64,
    pub(crate) moved: u64,
    /// The first faults, in words.
    pub(crate) faults: Vec<String>,
    /// The first errors of targets and connections, in words.
    pub(crate) notes: Vec<String>,
}

impl Findings {
    /// Whether the store broke a promise.
    pub(crate) fn broken(&self) -> bool {
        self.lost + self.stale + self.corrupt > 0
    }

    pub(crate) fn fault(&mut self, text: String) {
        keep(&mut self.faults, text);
    }

    pub(crate) fn note(&mut self, text: String) {
        keep(&mut self.notes, text);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.stale += other.stale;
        self.corrupt += other.corrupt;
        self.errors += other.errors;
        self.attempted += other.attempted;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.reads += other.reads;
        self.read_back += other.read_back;
        self.unread += other.unread;
        self.cut += other.cut;
        self.closed += other.closed;
        self.moved += other.moved;
        other.faults.into_iter().for_each(|text| self.fault(text));
        other.notes.into_iter().for_each(|text| self.note(text));
    }

    /// The verdict in one line.
    pub(crate) fn verdict(&self) -> String {
        format!("{} lost, {} stale, {} corrupt", self.lost, self.stale, self.corrupt)
    }

    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { attempted, acknowledged, refused, unknown, reads, read_back, .. } = self;
        writeln!(out, "verdict   {}, {} errors", self.verdict(), self.errors)?;
        writeln!(
            out,
            "writes    {attempted} sent: {acknowledged} acknowledged, {refused} refused, \
             {unknown} unknown"
        )?;
        writeln!(out, "reads     {reads}, {read_back} of them at the end, {} failed", self.unread)?;
        writeln!(
            out,
            "links     {} ended under way, {} between requests; {} requests moved",
            self.cut, self.closed, self.moved
        )?;
        self.faults.iter().try_for_each(|text| writeln!(out, "fault     {text}"))?;
        self.notes.iter().try_for_each(|text| writeln!(out, "note      {text}"))
    }
}

fn keep(texts: &mut Vec<String>, text: String) {
    if texts.len() < TEXTS_MAX && !texts.contains(&text) {
        texts.push(text);
    }
}

/// Texts of a kind that are kept at most.
const TEXTS_MAX: usize = 20;
