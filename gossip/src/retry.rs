//! What is tried for ever: the dead and the seeds, so that a healed partition finds itself.

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;
use rand::seq::IndexedRandom;

use crate::gossip::Gossip;
use crate::member::State;
use crate::timers::Timer;

impl Gossip {
    /// Tries one dead member and one seed that is no live member, and forgets who left long ago.
    pub(crate) fn retry(&mut self, now: Moment) {
        let next = self.about(self.config.dead_retry);
        self.timers.set(Timer::Retry, now + next);
        let memory = self.config.left_memory;
        self.table
            .forget(|member| member.state == State::Left && now.since(member.since) >= memory);
        let dead = self.table.iter().filter(|member| member.state == State::Dead);
        let dead: Vec<_> = dead.map(|member| (member.peer, member.id)).collect();
        if let Some((to, id)) = dead.choose(&mut self.rng).copied() {
            self.ping(now, to, id);
        }
        let live = |seed| self.table.iter().any(|m| m.state.is_live() && m.peer == seed);
        let seeds: Vec<_> = self.seeds.iter().copied().filter(|seed| !live(*seed)).collect();
        if let Some(seed) = seeds.choose(&mut self.rng).copied() {
            self.ping(now, seed, NodeId::NONE);
        }
        self.want_seeds();
    }
}
