//! Every client that we test, unmodified and with its defaults, at the door that fits it, while a
//! node joins and another leaves.

mod in_fred;
mod in_redis_rs;
mod program;
mod rounds;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::harness::process::show;
use crate::harness::{Client, Cluster, Reply, until};
use program::{Count, Mode, Outcome, Program};

/// Operations that every program must do in a phase, so that it goes all through each of them.
const OPS_PER_PHASE: u64 = 150;
/// How long a phase may take, with all programs on two cores.
const PHASE_LIMIT: Duration = Duration::from_mins(3);
/// Keys that nobody touches, so that a scan has something to walk over.
const IDLE_KEYS: usize = 5_000;

#[test]
fn no_client_notices_that_a_node_joins_and_another_leaves() {
    let mut cluster = Cluster::start("clients-under-change", 3, &[]);
    let (a, b, c) = (0, 1, 2);
    fill(&mut cluster.nodes[a].connect());
    let doors = |mode| match mode {
        Mode::Single => [cluster.nodes[a].client, cluster.nodes[b].client],
        Mode::Cluster => [cluster.nodes[a].cluster_client, cluster.nodes[b].cluster_client],
    };
    let doors = [doors(Mode::Single), doors(Mode::Cluster)];
    let mut programs = start_all(doors, &cluster.folder);
    phase("before", &mut programs);

    let during = ops(&programs);
    cluster.add(&[]);
    cluster.settle();
    all_moved_on("the join", &programs, &during);
    phase("joined", &mut programs);

    let during = ops(&programs);
    cluster.nodes[c].stop();
    cluster.settle();
    all_moved_on("the leave", &programs, &during);
    phase("left", &mut programs);

    let outcomes: Vec<(String, Outcome)> =
        programs.into_iter().map(|program| (program.name(), program.finish())).collect();
    report(&outcomes);
    assert!(outcomes.iter().all(|(_, outcome)| outcome.errors.is_empty()), "{outcomes:#?}");
    remove_benchmark_keys(&mut cluster.nodes[b].connect());
    count_everywhere(doors, &cluster, &outcomes);
}

/// Every program at every door that it knows, at the addresses of nodes that stay.
fn start_all(doors: [[SocketAddr; 2]; 2], folder: &Path) -> Vec<Program> {
    let mut programs = Vec::new();
    for (mode, nodes) in [Mode::Single, Mode::Cluster].into_iter().zip(doors) {
        for script in program::SCRIPTS {
            programs.push(Program::start_script(script, mode, nodes, folder));
        }
        programs.push(Program::start_thread("redis-rs", mode, nodes, in_redis_rs::connect));
        programs.push(Program::start_thread("fred", mode, nodes, in_fred::connect));
    }
    programs
}

fn ops(programs: &[Program]) -> Vec<u64> {
    programs.iter().map(Program::ops).collect()
}

/// Waits until every program has done some more.
#[track_caller]
fn phase(name: &str, programs: &mut [Program]) {
    let before = ops(programs);
    until(PHASE_LIMIT, name, || {
        for (program, before) in programs.iter_mut().zip(&before) {
            program.assert_runs();
            let done = program.ops() - before;
            if done < OPS_PER_PHASE {
                return Err(format!("{} did {done} operations", program.name()));
            }
        }
        Ok(())
    });
}

/// Every program did something since `before`.
#[track_caller]
fn all_moved_on(during: &str, programs: &[Program], before: &[u64]) {
    for (program, before) in programs.iter().zip(before) {
        let done = program.ops() - before;
        // A run of redis-benchmark that is cut has done nothing that it would tell.
        let stood = done == 0 && !program.is_cut_by_changes();
        assert!(!stood, "{} did nothing during {during}", program.name());
    }
}

fn report(outcomes: &[(String, Outcome)]) {
    for (name, outcome) in outcomes {
        let (ops, errors, cut) = (outcome.ops, outcome.errors.len(), outcome.cut);
        show(&format!("{name}: {ops} operations, {errors} errors, {cut} runs cut\n"));
    }
}

/// DBSIZE and a scan of every client at its door tell exactly the keys that are there.
#[track_caller]
fn count_everywhere(
    doors: [[SocketAddr; 2]; 2],
    cluster: &Cluster,
    outcomes: &[(String, Outcome)],
) {
    let own = outcomes.iter().filter(|(_, outcome)| outcome.counter > 0).count();
    let keys = IDLE_KEYS + own * rounds::KEYS_EACH;
    let wanted = Count { dbsize: keys as i64, scanned: keys, keys };
    for (mode, nodes) in [Mode::Single, Mode::Cluster].into_iter().zip(doors) {
        for script in program::SCRIPTS.into_iter().filter(|script| program::counts(script)) {
            let found = program::count_script(script, mode, nodes);
            assert_eq!(found, wanted, "{script} {mode:?}");
        }
        assert_eq!(rounds::count(&mut *in_redis_rs::connect(mode, nodes)), wanted, "{mode:?}");
        assert_eq!(rounds::count(&mut *in_fred::connect(mode, nodes)), wanted, "{mode:?}");
    }
    for (name, outcome) in outcomes.iter().filter(|(_, outcome)| outcome.counter > 0) {
        let counter = format!("{name}:counter");
        let wanted = Reply::bulk(outcome.counter.to_string().as_bytes());
        assert_eq!(cluster.nodes[0].connect().call(&["GET", &counter]), wanted, "{counter}");
    }
}

#[track_caller]
fn fill(client: &mut Client) {
    for first in (0..IDLE_KEYS).step_by(100) {
        let pairs = (first..first + 100).flat_map(|at| [format!("idle:{at}"), at.to_string()]);
        let words: Vec<String> = ["MSET".to_owned()].into_iter().chain(pairs).collect();
        assert_eq!(client.call(&words), Reply::ok());
    }
}

/// How many keys redis-benchmark makes depends on chance.
#[track_caller]
fn remove_benchmark_keys(client: &mut Client) {
    for pattern in ["key:*", "counter:*"] {
        let Reply::Array(keys) = client.call(&["KEYS", pattern]) else { panic!("KEYS") };
        assert!(!keys.is_empty(), "redis-benchmark left no {pattern}");
        for some in keys.chunks(500) {
            let mut words = vec!["DEL".to_owned()];
            words.extend(some.iter().map(Reply::text));
            assert_eq!(client.call(&words), Reply::Integer(some.len() as i64));
        }
    }
}
