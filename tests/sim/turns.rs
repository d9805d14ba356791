//! The threads of shards: what comes in, a turn, what goes out.

use piccolo_engine::shard::{Action, Control};

use crate::cluster::host_at;
use crate::network::End;
use crate::timeline::{Event, LifeId};
use crate::world::World;

/// Microseconds that a thread may take to get to what came in.
const TURN_MICROS_MAX: u64 = 40;

impl World {
    pub(crate) fn tell_shards(&mut self, id: LifeId, control: &Control) {
        let Some(life) = self.hosts[id.host].life.as_mut() else { return };
        for (shard, desk) in life.shards.iter_mut().enumerate() {
            let at = self.time.now + self.time.micros(1..=TURN_MICROS_MAX);
            desk.controls_last = desk.controls_last.max(at);
            desk.controls.push_back(control.clone());
            self.time.plan(desk.controls_last, Event::Control(id, shard as u16));
        }
    }

    pub(crate) fn control(&mut self, id: LifeId, shard: usize) {
        let now = self.time.now;
        let Some(life) = self.alive(id) else { return };
        let clock = life.clock(now);
        let desk = &mut life.shards[shard];
        let Some(control) = desk.controls.pop_front() else { return };
        desk.shard.set_now(clock);
        desk.shard.control(control);
        self.soon(id, shard);
    }

    pub(crate) fn mesh(&mut self, id: LifeId, from: u16, to: u16) {
        let now = self.time.now;
        let Some(life) = self.alive(id) else { return };
        let clock = life.clock(now);
        let desk = &mut life.shards[usize::from(to)];
        let Some(batch) = desk.mesh[usize::from(from)].pop_front() else { return };
        desk.shard.set_now(clock);
        desk.shard.take_batch(from, batch);
        self.soon(id, usize::from(to));
    }

    /// A shard has something to do: its thread gets to it soon.
    pub(crate) fn soon(&mut self, id: LifeId, shard: usize) {
        let at = self.time.now + self.time.micros(1..=TURN_MICROS_MAX);
        if let Some(life) = self.alive(id) {
            let desk = &mut life.shards[shard];
            desk.turn_at = desk.turn_at.min(at);
        }
    }

    pub(crate) fn turn(&mut self, host: usize, shard: usize) {
        let now = self.time.now;
        let life = self.life(host);
        let (id, clock, count) = (life.id, life.clock(now), life.shards.len());
        let desk = &mut life.shards[shard];
        desk.shard.set_now(clock);
        desk.shard.turn();
        for to in 0..count {
            self.send_batch(id, shard, to);
        }
        self.take_shard_actions(id, shard);
        self.flush(id, shard);
        let pause = self.time.micros(10..=10 + TURN_MICROS_MAX);
        let Some(life) = self.alive(id) else { return };
        let deadline = life.world_time(life.shards[shard].shard.deadline());
        let routes = life.shards[shard].shard.take_routes();
        life.shards[shard].turn_at = deadline.max(now + pause);
        life.observe(now);
        self.checkers.learn(&routes);
        self.take_node_actions(host);
    }

    fn send_batch(&mut self, id: LifeId, from: usize, to: usize) {
        let at = self.time.now + self.time.micros(1..=TURN_MICROS_MAX);
        let Some(life) = self.hosts[id.host].life.as_mut() else { return };
        let Some(batch) = life.shards[from].shard.take_outbound(to as u16) else { return };
        let desk = &mut life.shards[to];
        desk.mesh_last[from] = desk.mesh_last[from].max(at);
        desk.mesh[from].push_back(batch);
        self.time.plan(desk.mesh_last[from], Event::Mesh(id, from as u16, to as u16));
    }

    fn take_shard_actions(&mut self, id: LifeId, shard: usize) {
        loop {
            let Some(life) = self.hosts[id.host].life.as_mut() else { return };
            let desk = &mut life.shards[shard];
            let Some(action) = desk.shard.next_action() else { return };
            match action {
                Action::Connect { stream, address } => {
                    let host = host_at(address).expect("addresses are those of hosts");
                    let opener = End::Shard(id, shard as u16, stream);
                    let connection = self.network.open(&mut self.time, opener, host);
                    desk.sockets.insert(stream, (connection, 0));
                }
                Action::Leave => panic!("no client of the simulator says SHUTDOWN"),
                Action::Close(stream) => {
                    if let Some((connection, end)) = desk.sockets.remove(&stream) {
                        self.network.close(&mut self.time, connection, end);
                    }
                }
                Action::Warn(text) => self.said.push((id.host, text)),
            }
        }
    }

    /// Writes what there is to write, as far as there is room.
    pub(crate) fn flush(&mut self, id: LifeId, shard: usize) {
        let Some(life) = self.hosts[id.host].life.as_mut() else { return };
        let desk = &mut life.shards[shard];
        let mut keys = std::mem::take(&mut desk.full);
        while let Some(key) = desk.shard.dirty() {
            keys.insert(key);
        }
        for key in keys {
            let Some(&(connection, end)) = desk.sockets.get(&key) else { continue };
            let output = desk.shard.output(key);
            let length = output.len().min(self.network.room(connection, 1 - end));
            let rest = output.len() - length;
            self.network.write(&mut self.time, connection, 1 - end, &output[..length]);
            if desk.shard.sent(key, length) {
                desk.shard.closed(key);
                desk.sockets.remove(&key);
                self.network.close(&mut self.time, connection, end);
            } else if rest > 0 {
                desk.full.insert(key);
            }
        }
    }
}
