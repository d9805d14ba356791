//! A sans-IO shard from bytes in to bytes out, for counting instructions.
//!
//! `shard_count get|set PIPELINE TURNS`: fills a shard with keys, then takes that many turns of
//! one pipeline each. Everything is fixed, the seed of the hash too, so that callgrind counts the
//! same every time; the difference of two runs with other TURNS is the cost of the turns alone.
//! `tests/tools/instructions.py` does that and holds it against the bar.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use piccolo_engine::resp::parse::Limits;
use piccolo_engine::shard::{Control, Door, Shard, ShardConfig, Shared};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::{Moment, Now, UnixMillis};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns whose input is made in advance, whatever is taken of it: making it is counted, too, and
/// must be the same in both runs.
const TURNS_MAX: u64 = 6000;

/// Keys that the shard holds: as many that one turn's are rarely in the cache of the model.
const KEYS: u64 = 50_000;

fn now(microseconds: u64) -> Now {
    Now { moment: Moment(microseconds), wall: UnixMillis(1_700_000_000_000) }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, op, pipeline, turns] = &args[..] else {
        panic!("usage: shard_count get|set PIPELINE TURNS");
    };
    let (Ok(pipeline), Ok(turns)) = (pipeline.parse::<u64>(), turns.parse::<u64>()) else {
        panic!("PIPELINE and TURNS are numbers");
    };
    let shared: Arc<[Shared]> = [Shared::default()].into();
    let config = ShardConfig {
        index: 0,
        shards: 1,
        me: NodeId(1),
        password: None,
        limits: Limits::default(),
        memory_max: 0,
        shared,
    };
    let mut shard = Shard::new(config, now(0));
    shard.control(Control::Enter { cluster: ClusterId(7), create: true });
    let client = shard.accept_client(([127, 0, 0, 1], 1).into(), Door::Client);
    let inputs = |first: u64, turns: u64, pipeline: u64, set: bool| -> Vec<Vec<u8>> {
        let turn = |turn: u64| {
            let mut input = Vec::new();
            for key in 0..pipeline {
                // A stride that visits every key before it comes back to one.
                command(&mut input, (first + turn * pipeline + key) * 7919 % KEYS, set);
            }
            input
        };
        (0..turns).map(turn).collect()
    };
    let fill = inputs(0, KEYS / 100, 100, true);
    let measured = inputs(0, TURNS_MAX, pipeline, op == "set");
    let chosen = measured.iter().take(turns.min(TURNS_MAX) as usize);
    for (at, input) in (0..).zip(fill.iter().chain(chosen)) {
        shard.set_now(now(at));
        shard.received(client, input);
        shard.turn();
        while let Some(key) = shard.dirty() {
            let bytes = shard.output(key).len();
            assert!(bytes > 0, "every command is answered at once");
            shard.sent(key, bytes);
        }
        shard.turn_took(Duration::from_micros(1));
    }
}

fn command(to: &mut Vec<u8>, key: u64, set: bool) {
    let written = if set {
        write!(to, "*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$100\r\n{:0100}\r\n", 0)
    } else {
        write!(to, "*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n")
    };
    assert!(written.is_ok(), "writing into a Vec does not fail");
}
