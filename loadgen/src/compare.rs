//! The same load on several targets, interleaved, so that what disturbs the machine disturbs all.

use std::io::Write;

use serde::Serialize;

use crate::bench::report::Report;
use crate::bench::{self, plan::Plan};
use crate::cli::{CompareFlags, Format};
use crate::error::LoadError;
use crate::print_json;
use crate::progress::Progress;

/// Runs everything and prints medians with their spread, and ratios to the first target.
///
/// # Errors
///
/// As [`bench::run`]; a name of `--pid` that no target has is a wrong command line.
pub(crate) fn run(flags: &CompareFlags, out: &mut dyn Write) -> Result<(), LoadError> {
    let plans = plans(flags)?;
    let mut runs: Vec<Vec<Report>> = plans.iter().map(|_| Vec::new()).collect();
    let mut progress = Progress::new();
    for at in order(plans.len(), flags.repeat as usize, flags.interleave) {
        runs[at].push(bench::run(&plans[at], &mut |count| progress.show(count, "answers"))?);
    }
    progress.clear();
    let names = flags.targets.iter().map(|(name, _)| name.clone());
    let comparison = Comparison::of(names.zip(runs).collect(), flags.interleave);
    match flags.format {
        Format::Text => comparison.print(out)?,
        Format::Json => print_json(&comparison, out)?,
    }
    Ok(())
}

fn plans(flags: &CompareFlags) -> Result<Vec<Plan>, LoadError> {
    let named = |name: &String| flags.targets.iter().any(|(target, _)| target == name);
    if let Some((name, _)) = flags.pids.iter().find(|(name, _)| !named(name)) {
        return Err(LoadError::Usage(format!("--pid names {name:?}, but no --target does")));
    }
    let plan = |(name, target): &(String, _)| {
        let pids = flags.pids.iter().find(|(of, _)| of == name);
        flags.load.plan(target, pids.map(|(_, pids)| pids.clone()).unwrap_or_default())
    };
    Ok(flags.targets.iter().map(plan).collect())
}

/// Which target runs when.
fn order(targets: usize, repeat: usize, interleave: bool) -> Vec<usize> {
    let turn = |at| if interleave { at % targets } else { at / repeat };
    (0..targets * repeat).map(turn).collect()
}

/// All runs, and what comes of them.
#[derive(Debug, Serialize)]
struct Comparison {
    interleaved: bool,
    targets: Vec<Row>,
}

/// One target.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    figures: Vec<Figure>,
    runs: Vec<Report>,
}

/// One figure over all runs of a target.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: Spread,
    /// To the first target's run of the same turn.
    ratio: Spread,
}

/// Median and both ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Of at least one value.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            at(half)
        } else {
            f64::midpoint(at(half.wrapping_sub(1)), at(half))
        };
        Self { median, least: at(0), most: at(values.len().wrapping_sub(1)) }
    }
}

impl Comparison {
    fn of(runs: Vec<(String, Vec<Report>)>, interleaved: bool) -> Self {
        let first: Vec<Vec<(String, f64)>> =
            runs.first().map(|(_, runs)| runs.iter().map(figures).collect()).unwrap_or_default();
        let row = |(name, runs): (String, Vec<Report>)| {
            let mine: Vec<_> = runs.iter().map(figures).collect();
            Row { name, figures: spreads(&mine, &first), runs }
        };
        Self { interleaved, targets: runs.into_iter().map(row).collect() }
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), LoadError> {
        let turn = if self.interleaved { "interleaved" } else { "one target after the other" };
        let count = self.targets.first().map_or(0, |row| row.runs.len());
        writeln!(out, "medians of {count} runs, {turn}; in brackets the least and the most")?;
        for row in &self.targets {
            let errors: u64 = row.runs.iter().map(|run| run.errors.total).sum();
            let invalid = row.runs.iter().filter(|run| !run.valid).count();
            writeln!(out, "{}: {errors} errors, {invalid} invalid runs", row.name)?;
            for Figure { name, value, ratio } in &row.figures {
                writeln!(
                    out,
                    "  {name:24} {:>12.2} [{:.2}..{:.2}]  ratio {:.3} [{:.3}..{:.3}]",
                    value.median, value.least, value.most, ratio.median, ratio.least, ratio.most
                )?;
            }
        }
        Ok(())
    }
}

/// What of a run is compared.
fn figures(run: &Report) -> Vec<(String, f64)> {
    let mut figures = vec![("operations/s".to_owned(), run.operations_per_second)];
    for one in &run.by_operation {
        let latency = &one.latency_us;
        let rows = [("p50", latency.p50), ("p99", latency.p99), ("p99.9", latency.p99_9)];
        figures.extend(rows.map(|(name, us)| (format!("{} {name} us", one.operation), us as f64)));
    }
    if let Some(cpu) = run.server_cpu_us_per_operation {
        figures.push(("server cpu us/op".to_owned(), cpu));
    }
    figures.push(("generator cpu us/op".to_owned(), run.own_cpu_us_per_operation));
    figures
}

fn spreads(mine: &[Vec<(String, f64)>], first: &[Vec<(String, f64)>]) -> Vec<Figure> {
    let names = mine.first().into_iter().flatten().map(|(name, _)| name);
    let value = |run: &[(String, f64)], name: &str| {
        run.iter().find(|(figure, _)| figure == name).map(|(_, value)| *value)
    };
    let figure = |name: &String| {
        let pairs = mine
            .iter()
            .zip(first)
            .filter_map(|(mine, first)| Some(value(mine, name)? / value(first, name)?));
        Figure {
            name: name.clone(),
            value: Spread::of(mine.iter().filter_map(|run| value(run, name)).collect()),
            ratio: Spread::of(pairs.collect()),
        }
    };
    names.map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_runs_take_turns() {
        assert_eq!(order(2, 3, true), [0, 1, 0, 1, 0, 1]);
        assert_eq!(order(2, 3, false), [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn spread_is_median_least_and_most() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0]);
        assert_eq!(spread, Spread { median: 3.0, least: 1.0, most: 5.0 });
        assert_eq!(Spread::of(vec![4.0, 2.0]), Spread { median: 3.0, least: 2.0, most: 4.0 });
    }

    #[test]
    fn ratios_pair_runs_of_the_same_turn() {
        let run = |value| vec![("ops".to_owned(), value)];
        // Both slow down together in the second turn: the ratio stays.
        let figures = spreads(&[run(20.0), run(2.0)], &[run(10.0), run(1.0)]);
        assert_eq!(figures[0].ratio, Spread { median: 2.0, least: 2.0, most: 2.0 });
    }
}
