//! What clients ask for: reads, writes, counters, transactions, on keys of their own and others'.

use std::collections::BTreeSet;
use std::time::Duration;

use piccolo_engine::shard::Door;
use piccolo_schema::ids::Slot;
use piccolo_schema::key_slot::slot_of;

use crate::client::{Habits, Op};
use crate::history::{Kind, Register};
use crate::reply::command;
use crate::timeline::Timeline;
use crate::world::World;

/// Bytes of the values that a slot is filled with.
const FILL_VALUE_BYTES: usize = 40_000;

/// Bytes that the values of a mixed register vary by: none, once, twice or thrice as many. Two of
/// the four sizes go between nodes by the bulk link, the others by the ordinary one.
const MIXED_PADDING_BYTES: usize = 40_000;

/// Something to send and what is to be heard.
type Commands = Vec<(Vec<u8>, Op)>;

/// Habits drawn from the seed.
pub fn habits(time: &mut Timeline, registers: usize) -> Habits {
    Habits {
        depth: 1 + time.below(12),
        think_micros: (50, 1000 + 20_000 * time.below(3) as u64),
        registers,
        padding: [0, 10, 300][time.below(3)],
        busy: true,
    }
}

/// The next thing that a client asks for.
pub fn next(world: &mut World, index: usize) -> Commands {
    let register = own_register(world, index);
    if world.clients[index].door == Door::Cluster {
        return match world.time.below(3) {
            0 => write(world, register),
            1 => read_own(world, register),
            _ => read_any(world),
        };
    }
    match world.time.below(10) {
        0..4 => write(world, register),
        4..6 => read_own(world, register),
        6..8 => read_any(world),
        8 => read_many(world),
        _ => {
            let other = own_register(world, index);
            let mut both = write(world, register);
            both.extend(write(world, other));
            both
        }
    }
}

/// One of the client's registers, replaced if its state is in doubt.
fn own_register(world: &mut World, index: usize) -> usize {
    let place = world.time.below(world.clients[index].habits.registers);
    let own = &world.clients[index].own;
    if let Some(register) = own.get(place)
        && !world.history.registers[*register].doubtful
    {
        return *register;
    }
    let number = world.history.registers.len();
    let alone = world.clients[index].door == Door::Cluster;
    let kind = match number % 4 {
        0 | 1 => Kind::Number,
        2 => Kind::Counter,
        // One command at a time makes no transaction.
        _ if alone => Kind::Counter,
        _ => Kind::Pair,
    };
    let padding = world.clients[index].habits.padding;
    world.history.add(Register::new(kind, &format!("{index}-{number}"), padding));
    let own = &mut world.clients[index].own;
    match own.get_mut(place) {
        Some(register) => *register = number,
        None => own.push(number),
    }
    number
}

/// Sets a register to its next value, whatever is there now: no deletion, nothing that counts on.
fn overwrite(world: &mut World, register: usize) -> (Vec<u8>, Op) {
    let known = &mut world.history.registers[register];
    let next = known.high + 1;
    known.high = if Register::deletes(next) { next + 1 } else { next };
    let (number, key) = (known.high, &known.key);
    let value = known.value(number).unwrap_or_default();
    let command = match known.kind {
        Kind::Number | Kind::Counter => command(&[b"SET", key, &value]),
        Kind::Pair => command(&[b"MSET", key, &value, &known.second(), &value]),
    };
    (command, Op::Overwrote(register, number))
}

fn write(world: &mut World, register: usize) -> Commands {
    let known = &mut world.history.registers[register];
    known.high += 1;
    let (number, key) = (known.high, known.key.clone());
    match known.kind {
        Kind::Number => match known.value(number) {
            Some(value) => {
                vec![(command(&[b"SET", &key, &value]), Op::Wrote(register, number))]
            }
            None => vec![(command(&[b"DEL", &key]), Op::Wrote(register, number))],
        },
        Kind::Counter => vec![(command(&[b"INCR", &key]), Op::Wrote(register, number))],
        Kind::Pair => vec![
            (command(&[b"MULTI"]), Op::Said("OK")),
            (command(&[b"INCR", &key]), Op::Said("QUEUED")),
            (command(&[b"INCR", &known.second()]), Op::Said("QUEUED")),
            (command(&[b"EXEC"]), Op::WrotePair(register, number)),
        ],
    }
}

/// On the connection that writes it, nothing but the last write may be found.
fn read_own(world: &mut World, register: usize) -> Commands {
    let known = &world.history.registers[register];
    let number = known.high;
    vec![(command(&[b"GET", &known.key]), Op::Read(register, number, Some(number)))]
}

/// On another connection, what was acknowledged when the read began, or anything later.
pub fn read(world: &World, register: usize) -> Commands {
    let known = &world.history.registers[register];
    match known.kind {
        Kind::Pair => {
            let op = Op::ReadPair(register, known.low);
            vec![(command(&[b"MGET", &known.key, &known.second()]), op)]
        }
        _ => vec![(command(&[b"GET", &known.key]), Op::Read(register, known.low, None))],
    }
}

/// Any register but a large one. The client that asks has small ones of its own.
fn any_register(world: &mut World) -> usize {
    loop {
        let register = world.time.below(world.history.registers.len());
        if !world.history.registers[register].is_large() {
            return register;
        }
    }
}

fn read_any(world: &mut World) -> Commands {
    let register = any_register(world);
    read(world, register)
}

fn read_many(world: &mut World) -> Commands {
    let count = 1 + world.time.below(5);
    let mut keys = vec![b"MGET".to_vec()];
    let mut reads = Vec::new();
    for _ in 0..count {
        let register = any_register(world);
        keys.push(world.history.registers[register].key.clone());
        reads.push((register, world.history.registers[register].low));
    }
    let args: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    vec![(command(&args), Op::ReadMany(reads))]
}

impl World {
    /// Clients that are busy on these hosts.
    pub fn add_busy_clients(&mut self, count: usize, homes: &[usize], registers: usize) {
        for _ in 0..count {
            let habits = habits(&mut self.time, registers);
            self.add_client(homes, habits);
        }
    }

    /// Clients of Redis Cluster that are busy, and begin at any of these hosts.
    pub fn add_cluster_clients(&mut self, count: usize, homes: &[usize], registers: usize) {
        for _ in 0..count {
            let habits = Habits { depth: 1, ..habits(&mut self.time, registers) };
            let index = self.add_client(homes, habits);
            self.clients[index].door = Door::Cluster;
        }
    }

    /// A client at one host that does as it is told.
    pub fn add_reader(&mut self, host: usize) -> usize {
        let habits =
            Habits { depth: 16, think_micros: (50, 100), registers: 0, padding: 0, busy: false };
        self.add_client(&[host], habits)
    }

    /// A client at one host that writes and reads a key of its own, in pipelines in which large
    /// values and small ones come mixed.
    pub fn add_mixed_client(&mut self, host: usize, writes: usize) {
        let habits =
            Habits { depth: 8, think_micros: (50, 500), registers: 0, padding: 0, busy: false };
        let client = self.add_client(&[host], habits);
        let name = format!("mixed-{client}");
        let register = self.history.add(Register::new(Kind::Number, &name, MIXED_PADDING_BYTES));
        for _ in 0..writes {
            let mut commands = write(self, register);
            if self.time.chance(0.5) {
                commands.extend(read_own(self, register));
            }
            self.clients[client].script.extend(commands);
        }
        self.stir(client, 0);
    }

    /// Writes so many bytes into one slot at a host, as large values, and waits until it is done.
    pub fn fill(&mut self, slot: Slot, bytes: usize, host: usize) {
        let mut tags = (0_u32..).map(|number| number.to_string());
        let tag = tags.find(|tag| slot_of(tag.as_bytes()) == slot).unwrap_or_default();
        let writer = self.add_reader(host);
        for number in 0..bytes.div_ceil(FILL_VALUE_BYTES) {
            let name = format!("{{{tag}}}:{number}");
            let register = Register::new(Kind::Number, &name, FILL_VALUE_BYTES);
            let register = self.history.add(register);
            let command = overwrite(self, register);
            self.clients[writer].script.push_back(command);
        }
        self.finish(writer);
    }

    /// Writes every register at a host, whatever became of it, so that each is known again.
    /// Clients must be quiet.
    pub fn overwrite_all(&mut self, host: usize) {
        let writer = self.add_reader(host);
        for register in 0..self.history.registers.len() {
            let command = overwrite(self, register);
            self.clients[writer].script.push_back(command);
        }
        self.finish(writer);
    }

    /// Runs until a client has done all that it was told.
    fn finish(&mut self, client: usize) {
        self.stir(client, 0);
        self.run_until("a client has done its part", Duration::from_secs(15), |world| {
            let client = &world.clients[client];
            client.waiting() == 0 && client.script.is_empty()
        });
    }

    /// Reads every register at every running host, then counts keys there. Clients must be quiet.
    pub fn audit(&mut self) {
        let (least, most) = self.history.keys();
        let mut sizes = Vec::new();
        for host in self.running() {
            let reader = self.add_reader(host);
            for register in 0..self.history.registers.len() {
                let commands = read(self, register);
                self.clients[reader].script.extend(commands);
            }
            let size = (command(&[b"DBSIZE"]), Op::Size);
            self.clients[reader].script.push_back(size);
            self.stir(reader, 0);
            sizes.push(reader);
        }
        self.quiet_clients();
        let sizes: Vec<i64> = sizes
            .iter()
            .map(|reader| self.clients[*reader].sizes.first().copied().unwrap_or(-1))
            .collect();
        assert!(
            sizes.iter().all(|size| *size == sizes[0]),
            "hosts count keys differently: {sizes:?}"
        );
        assert!(
            (least as i64..=most as i64).contains(&sizes[0]),
            "DBSIZE is {sizes:?}, but {least} to {most} keys are there"
        );
    }

    /// The clients that were busy are so again.
    pub fn busy_again(&mut self) {
        for index in 0..self.clients.len() {
            if self.clients[index].habits.registers > 0 {
                self.clients[index].habits.busy = true;
                self.stir(index, 0);
            }
        }
    }

    /// The keys that exist. Clients must be quiet, and no write in doubt.
    pub fn present_keys(&self) -> BTreeSet<Vec<u8>> {
        let mut keys = BTreeSet::new();
        for register in &self.history.registers {
            assert!(!register.doubtful, "{register:?}");
            if register.keys_after(register.high) > 0 {
                keys.insert(register.key.clone());
            }
            if register.keys_after(register.high) > 1 {
                keys.insert(register.second());
            }
        }
        keys
    }

    /// What SCAN and DBSIZE tell at one host.
    pub fn scan_and_count(&mut self, host: usize) -> (BTreeSet<Vec<u8>>, i64) {
        let reader = self.add_reader(host);
        let script = &mut self.clients[reader].script;
        script.push_back((command(&[b"DBSIZE"]), Op::Size));
        script.push_back((command(&[b"SCAN", b"0", b"COUNT", b"100"]), Op::Scan));
        self.stir(reader, 0);
        self.run_until("SCAN comes round", Duration::from_mins(1), |world| {
            world.clients[reader].scan_done
        });
        let client = &self.clients[reader];
        (client.scanned.clone(), client.sizes[0])
    }
}
