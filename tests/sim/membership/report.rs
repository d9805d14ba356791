//! The table of figures that `sim membership` prints.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::scenarios::{self, Setting};

/// From when all have come in until news of that has died down, so that it counts for nothing.
const LEAD: Duration = Duration::from_mins(1);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Under which conditions.
    pub setting: Setting,
    /// So many seeds of each scenario, from `first_seed` on.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// How long each seed of the quiet scenario plays.
    pub quiet: Duration,
    /// How long halves are apart; `None`: they are not.
    pub partition: Option<Duration>,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What came out.
    pub figures: String,
}

/// Plays every scenario of the plan and says what came out.
pub fn rows(plan: &Plan) -> Vec<Row> {
    let setting = &plan.setting;
    let mut rows = Vec::new();
    let mut row = |what: &str, figures: String| rows.push(Row { what: what.to_owned(), figures });
    let crashes = over_seeds(plan, |seed| scenarios::crash(seed, setting));
    row("crash, until the first holds it dead", times(crashes.iter().map(|c| c.first)));
    row("crash, until all hold it dead", times(crashes.iter().map(|c| c.all)));
    let others: usize = crashes.iter().map(|crash| crash.false_deaths).sum();
    row("deaths of others beside a crash", others.to_string());
    let quiet = over_seeds(plan, |seed| scenarios::quiet(seed, setting, LEAD, plan.quiet));
    let seconds = plan.quiet.as_secs_f64() * plan.seeds as f64 * setting.nodes as f64;
    let healthy: usize = quiet.iter().map(|quiet| quiet.deaths_of_healthy).sum();
    let slow: usize = quiet.iter().map(|quiet| quiet.deaths_of_slow).sum();
    let hours = seconds / 3600.0;
    row("false deaths of healthy nodes", per_hour(healthy, hours));
    if setting.slow > 0.0 {
        row("false deaths of pausing nodes", per_hour(slow, hours));
    }
    let suspicions: u64 = quiet.iter().map(|quiet| quiet.suspicions).sum();
    row("suspicions raised", per_hour(suspicions as usize, hours));
    let bytes: u64 = quiet.iter().map(|quiet| quiet.bytes).sum();
    let datagrams: u64 = quiet.iter().map(|quiet| quiet.datagrams).sum();
    row("bytes sent per node and second", format!("{:.0}", bytes as f64 / seconds));
    row("datagrams sent per node and second", format!("{:.2}", datagrams as f64 / seconds));
    let joins = over_seeds(plan, |seed| scenarios::join(seed, setting));
    row("all join through one, until all agree", times(joins.into_iter()));
    let moves = over_seeds(plan, |seed| scenarios::moved(seed, setting));
    row("restart at another address, until all know", times(moves.iter().map(|moved| moved.0)));
    let others: usize = moves.iter().map(|moved| moved.1).sum();
    row("deaths of others beside it", others.to_string());
    if let Some(time) = plan.partition {
        let heals = over_seeds(plan, |seed| scenarios::partition(seed, setting, time));
        row("halves healed, until all agree", times(heals.into_iter()));
    }
    rows
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

fn per_hour(count: usize, hours: f64) -> String {
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
