//! Trials: a newcomer wants the name of a live member from another address. Whoever has the name is
//! asked, directly and through others; if it answers the newcomer is refused, if it stays silent
//! its life is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use crate::gossip::Gossip;
use crate::member::{Member, State};
use crate::message::Refusal;
use crate::timers::Timer;

/// Newcomers that wait for a verdict about their name, at most; further ones ask again.
pub(crate) const TRIALS_MAX: usize = 64;

/// How often a holder is asked in the time of its trial.
const ASKS: u32 = 5;

/// The trials under way, by newcomer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trials {
    running: BTreeMap<NodeId, Trial>,
}

#[derive(Clone, Debug)]
struct Trial {
    newcomer: Member,
    from: SocketAddr,
    incumbent: NodeId,
    began: Moment,
    /// When the newcomer asked last: it asks on for as long as it is there.
    heard: Moment,
    /// When the incumbent is asked once more, or judged.
    next: Moment,
    asked: u32,
}

impl Trials {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn end(&mut self, newcomer: NodeId) {
        self.running.remove(&newcomer);
    }

    fn next(&self) -> Moment {
        self.running.values().map(|trial| trial.next).min().unwrap_or(Moment::NEVER)
    }

    /// A trial whose next step is due.
    fn due(&mut self, now: Moment) -> Option<NodeId> {
        let due = self.running.iter().find(|(_, trial)| trial.next <= now);
        due.map(|(newcomer, _)| *newcomer)
    }
}

impl Gossip {
    /// Begins the trial of the holder of a name, unless it runs.
    pub(crate) fn put_to_test(
        &mut self,
        now: Moment,
        incumbent: NodeId,
        newcomer: Member,
        from: SocketAddr,
    ) {
        let running = &mut self.trials.running;
        let id = newcomer.id;
        if let Some(trial) = running.get_mut(&id) {
            trial.heard = now;
            return;
        }
        if running.len() >= TRIALS_MAX {
            return;
        }
        let (began, heard, next) = (now, now, now);
        let trial = Trial { newcomer, from, incumbent, began, heard, next, asked: 0 };
        running.insert(id, trial);
        self.try_names(now);
    }

    /// Asks, or judges, whoever is due.
    pub(crate) fn try_names(&mut self, now: Moment) {
        let pause = self.config.name_trial / ASKS;
        while let Some(newcomer) = self.trials.due(now) {
            let Some(trial) = self.trials.running.get_mut(&newcomer) else { break };
            let holder = self.table.get(&trial.newcomer.name);
            let holder = holder.filter(|m| m.id == trial.incumbent && m.state.is_live());
            let Some(holder) = holder.cloned() else {
                // It died in the ordinary way, or the name went to somebody else.
                self.trials.end(newcomer);
                continue;
            };
            if trial.asked < ASKS {
                trial.asked += 1;
                trial.next = now + pause;
                self.ping_hard(now, holder.peer, holder.id);
            } else {
                self.lose_name(now, newcomer, holder);
            }
        }
        self.timers.set(Timer::Trial, self.trials.next());
    }

    /// The holder stayed silent: its life is over, and the newcomer comes in.
    fn lose_name(&mut self, now: Moment, newcomer: NodeId, holder: Member) {
        let Some(trial) = self.trials.running.remove(&newcomer) else { return };
        // Who does not ask any more is gone, and takes no name. One that is there asks once in a
        // `join_retry`, give or take a tenth, and what it says may be slow.
        if now.since(trial.heard) > self.config.join_retry * 5 / 4 {
            return;
        }
        self.stats.deaths += 1;
        self.mark(now, Member { state: State::Dead, ..holder });
        // Rejected only if it cannot come in after all; it asks again and is told why.
        drop(self.admit(now, trial.from, trial.newcomer));
    }

    /// The holder of a name answered what it was asked at `asked`: those who wanted its name before
    /// are refused. An answer to an earlier question may be older than its death.
    pub(crate) fn conclude_trials(&mut self, holder: NodeId, asked: Moment) {
        if self.trials.running.is_empty() {
            return;
        }
        let Some(by) = self.table.with_id(holder).map(|member| member.peer) else { return };
        let lost = self.trials.running.iter();
        let lost = lost.filter(|(_, t)| t.incumbent == holder && t.began <= asked);
        let lost: Vec<_> = lost.map(|(newcomer, trial)| (*newcomer, trial.from)).collect();
        for (newcomer, to) in lost {
            self.trials.end(newcomer);
            self.refuse(to, newcomer, Refusal::NameTaken(by));
        }
    }
}
