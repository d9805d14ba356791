//! The table of figures that `sim membership` prints.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::scenarios::{self, Quiet, Setting};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Under which conditions.
    pub setting: Setting,
    /// So many seeds of each scenario, from `first_seed` on.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// From when all have come in until each seed of the quiet scenario counts.
    pub lead: Duration,
    /// How long it counts.
    pub quiet: Duration,
    /// How long halves are apart.
    pub apart: Duration,
    /// What to play.
    pub scenarios: Vec<Scenario>,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What came out.
    pub figures: String,
}

/// One thing to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Scenario {
    /// A node crashes.
    Crash,
    /// Nothing happens, but for pauses and loss.
    Quiet,
    /// All join at once through one.
    Join,
    /// A node restarts at another address.
    Moved,
    /// Two halves do not hear each other for a time.
    Partition,
}

impl Scenario {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [Self::Crash, Self::Quiet, Self::Join, Self::Moved, Self::Partition];

    /// Plays it for every seed of the plan and says what came out.
    fn rows(self, plan: &Plan) -> Vec<Row> {
        match self {
            Self::Crash => crash(plan),
            Self::Quiet => quiet(plan),
            Self::Join => {
                let joins = over_seeds(plan, |seed| scenarios::join(seed, &plan.setting));
                vec![row("all join through one, until all agree", times(joins.into_iter()))]
            }
            Self::Moved => moved(plan),
            Self::Partition => {
                let apart = |seed| scenarios::partition(seed, &plan.setting, plan.apart);
                let heals = over_seeds(plan, apart);
                vec![row("halves healed, until all agree", times(heals.into_iter()))]
            }
        }
    }
}

/// Plays every scenario of the plan and says what came out.
pub fn rows(plan: &Plan) -> Vec<Row> {
    plan.scenarios.iter().flat_map(|scenario| scenario.rows(plan)).collect()
}

fn row(what: &str, figures: String) -> Row {
    Row { what: what.to_owned(), figures }
}

fn crash(plan: &Plan) -> Vec<Row> {
    let crashes = over_seeds(plan, |seed| scenarios::crash(seed, &plan.setting));
    let others: usize = crashes.iter().map(|crash| crash.false_deaths).sum();
    vec![
        row("crash, until the first holds it dead", times(crashes.iter().map(|c| c.first))),
        row("crash, until all hold it dead", times(crashes.iter().map(|c| c.all))),
        row("deaths of others beside a crash", others.to_string()),
    ]
}

fn quiet(plan: &Plan) -> Vec<Row> {
    let setting = &plan.setting;
    let quiet = over_seeds(plan, |seed| scenarios::quiet(seed, setting, plan.lead, plan.quiet));
    let seconds = plan.quiet.as_secs_f64() * plan.seeds as f64 * setting.nodes as f64;
    let hours = seconds / 3600.0;
    let sum = |field: fn(&Quiet) -> u64| quiet.iter().map(field).sum::<u64>();
    let mut rows = vec![row(
        "false deaths of healthy nodes",
        per_hour(sum(|quiet| quiet.deaths_of_healthy as u64), hours),
    )];
    if setting.slow > 0.0 {
        let deaths = sum(|quiet| quiet.deaths_of_slow as u64);
        rows.push(row("false deaths of pausing nodes", per_hour(deaths, hours)));
    }
    let per_second = |count: u64| count as f64 / seconds;
    rows.extend([
        row("suspicions raised", per_hour(sum(|quiet| quiet.suspicions), hours)),
        row("bytes sent per node and second", format!("{:.0}", per_second(sum(|q| q.bytes)))),
        row(
            "datagrams sent per node and second",
            format!("{:.2}", per_second(sum(|q| q.datagrams))),
        ),
    ]);
    rows
}

fn moved(plan: &Plan) -> Vec<Row> {
    let moves = over_seeds(plan, |seed| scenarios::moved(seed, &plan.setting));
    let others: usize = moves.iter().map(|moved| moved.1).sum();
    vec![
        row("restart at another address, until all know", times(moves.iter().map(|moved| moved.0))),
        row("deaths of others beside it", others.to_string()),
    ]
}

/// Plays a scenario for every seed, on all cores; the results by seed.
fn over_seeds<T: Send>(plan: &Plan, scenario: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= plan.seeds {
                        return;
                    }
                    let result = scenario(plan.first_seed + seed);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((seed, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(seed, _)| *seed);
    done.into_iter().map(|(_, result)| result).collect()
}

fn per_hour(count: u64, hours: f64) -> String {
    format!("{count} in {hours:.1} node-hours ({:.4} per node-hour)", count as f64 / hours)
}

/// Median, 99th percentile and maximum.
fn times(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
    times.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * times.len() as f64).ceil() as usize;
        times.get(place.saturating_sub(1)).copied().unwrap_or_default()
    };
    format!("p50 {:.2} s, p99 {:.2} s, max {:.2} s", at(0.5), at(0.99), at(1.0))
}
