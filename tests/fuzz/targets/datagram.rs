//! Datagrams of strangers, and of members with bytes changed, for real gossip cores.
//!
//! An input is a list of steps against one core: a datagram as it stands, one that real cores have
//! sent with some bytes changed, or time until the next deadline.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use piccolo_gossip::{Action, Gossip, Keys, Start};
use piccolo_schema::ids::ClusterId;
use piccolo_schema::time::Moment;
use piccolo_tests::membership::{World, address, seconds};

/// Members at most that a few datagrams can bring: those known, and one for each update that fits.
const MEMBERS_MAX: usize = 2000;
/// Steps of one input at most.
const STEPS_MAX: usize = 64;

const KEY: &str = "00112233445566778899aabbccddeeff";

/// Cores in the middle of their lives, and what was said around them.
struct Stage {
    cores: Vec<Gossip>,
    now: Moment,
    recorded: Vec<Vec<u8>>,
}

/// Three nodes that found each other, lost one and got it back, with a newcomer that still looks
/// for a cluster.
fn stage(key: Option<&str>) -> Stage {
    let mut world = World::new(1, 0.2);
    world.recorded = Some(Vec::new());
    let seeds = [1, 2, 3].map(address);
    for index in 0..3 {
        world.add(&format!("n{index}"), &seeds);
        world.nodes[index].keys = key.map(|text| Keys::parse(text).expect("a key"));
        let start = world.expecting(2);
        world.start(index, start);
    }
    world.run(seconds(10));
    world.nodes[2].side = 1;
    world.run(seconds(10));
    world.nodes[2].side = 0;
    world.run(seconds(20));
    let seeker = world.add("seeker", &[]);
    world.start(seeker, Start::Join { expect: 2, cluster_if_created: ClusterId(9) });
    let cores = [0, seeker].map(|index| world.gossip(index).clone()).to_vec();
    Stage { cores, now: world.now, recorded: world.recorded.take().unwrap_or_default() }
}

/// Bytes of an input, taken from the front; zeros when there are no more.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn number(&mut self) -> usize {
        (self.byte() << 8) | self.byte()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes.to_vec()
    }
}

fuzz_target!(|bytes: &[u8]| {
    static STAGES: OnceLock<[Stage; 2]> = OnceLock::new();
    let stages = STAGES.get_or_init(|| [stage(None), stage(Some(KEY))]);
    let mut input = Input(bytes);
    let which = input.byte();
    let stage = &stages[which & 1];
    let mut core = stage.cores[(which >> 1) & 1].clone();
    let mut now = stage.now;
    for _ in 0..STEPS_MAX {
        if input.0.is_empty() {
            break;
        }
        match input.byte() % 4 {
            0 => {
                let length = input.number() % 1600;
                offer(&mut core, now, &input.bytes(length));
            }
            1 | 2 => offer(&mut core, now, &changed(stage, &mut input)),
            _ => {
                let deadline = core.deadline();
                if deadline != Moment::NEVER {
                    now = deadline;
                    core.advance(now);
                    assert!(core.deadline() > now, "advance left work undone");
                }
            }
        }
        drain(&mut core);
    }
});

/// A datagram that was really sent, with up to seven bytes changed, perhaps cut off.
fn changed(stage: &Stage, input: &mut Input<'_>) -> Vec<u8> {
    let mut datagram = stage.recorded[input.number() % stage.recorded.len()].clone();
    let how = input.byte();
    for _ in 0..how & 7 {
        let at = input.number() % datagram.len();
        datagram[at] = input.byte() as u8;
    }
    if how & 8 != 0 {
        datagram.truncate(input.number() % datagram.len());
    }
    datagram
}

fn offer(core: &mut Gossip, now: Moment, datagram: &[u8]) {
    let before = core.members().count();
    let result = core.receive(now, address(2), datagram);
    let after = core.members().count();
    assert!(after <= MEMBERS_MAX, "{after} members");
    assert!(result.is_ok() || before == after, "{before} members, then {after}, by {result:?}");
}

fn drain(core: &mut Gossip) {
    let mut actions = 0;
    while let Some(action) = core.next_action() {
        actions += 1;
        if let Action::Send { datagram, .. } = action {
            assert!(datagram.len() <= 1400, "a datagram of {} bytes", datagram.len());
        }
    }
    assert!(actions <= 4096, "{actions} actions at once");
}
