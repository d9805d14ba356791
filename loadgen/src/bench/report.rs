//! The figures of a run, for people and for programs.

use std::io::{self, Write};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Measured;
use super::plan::{Length, Plan};
use super::tally::Tally;
use crate::clock::SECOND;
use crate::mix::Op;

/// What one run measured. Times are microseconds unless the name says otherwise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) target: String,
    pub(crate) ratio: String,
    /// `closed`: a client sends when it has an answer. `open`: sends are due by the clock.
    pub(crate) model: &'static str,
    pub(crate) rate: Option<u64>,
    pub(crate) connections: usize,
    pub(crate) pipeline: u32,
    pub(crate) threads: usize,
    pub(crate) keys: u64,
    pub(crate) dist: String,
    pub(crate) value_size: String,
    pub(crate) seed: u64,
    /// Length of the measured part.
    pub(crate) seconds: f64,
    /// Requests that were answered as asked.
    pub(crate) operations: u64,
    pub(crate) operations_per_second: f64,
    pub(crate) misses: u64,
    pub(crate) moved: u64,
    pub(crate) errors: Errors,
    pub(crate) by_operation: Vec<ByOperation>,
    pub(crate) own_cpu_us_per_operation: f64,
    pub(crate) server_cpu_us_per_operation: Option<f64>,
    pub(crate) generator: Generator,
    /// Whether the figures are the target's: see `reasons`.
    pub(crate) valid: bool,
    pub(crate) reasons: Vec<String>,
}

/// Requests that were not answered as asked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Errors {
    pub(crate) total: u64,
    /// Error replies.
    pub(crate) refused: u64,
    /// The target cannot tell whether the write was executed.
    pub(crate) unknown: u64,
    /// The connection ended before the answer.
    pub(crate) lost: u64,
    /// No answer until 10 s after the last one and the end; their age then is among the latencies.
    pub(crate) unanswered: u64,
    /// Due in an open loop, but no connection had room until 10 s after the end; or the rest of a
    /// run by count that got no answer for 10 s.
    pub(crate) unsent: u64,
    pub(crate) disconnects: u64,
    pub(crate) first: Option<String>,
}

/// Latencies of one kind of operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ByOperation {
    pub(crate) operation: &'static str,
    pub(crate) count: u64,
    /// From the scheduled send in open loop, else from the send.
    pub(crate) latency_us: Percentiles,
    /// From the send, in open loop.
    pub(crate) service_us: Option<Percentiles>,
}

/// Percentiles with three digits, 1 us to 60 s.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) mean: f64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) p99_99: u64,
    pub(crate) max: u64,
}

/// How the generator itself did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Generator {
    pub(crate) busiest_thread_cpu_percent: f64,
    /// How late sends were that had a connection free, in open loop.
    pub(crate) lag_p99_us: u64,
    pub(crate) lag_max_us: u64,
    /// Sends that waited for a connection with room, in open loop.
    pub(crate) crowded: u64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max(),
        }
    }
}

impl Report {
    pub(super) fn new(plan: &Plan, measured: &Measured) -> Self {
        let tally = &measured.tally;
        let operations = tally.operations();
        let seconds = seconds(plan, measured);
        let per = |nanos: u64| nanos as f64 / 1000.0 / operations.max(1) as f64;
        let (cpu, nanos) = measured.busiest;
        let generator = Generator {
            busiest_thread_cpu_percent: 100.0 * cpu as f64 / nanos.max(1) as f64,
            lag_p99_us: tally.lag.value_at_quantile(0.99),
            lag_max_us: tally.lag.max(),
            crowded: tally.crowded,
        };
        let reasons = if plan.rate.is_some() { reasons(&generator) } else { Vec::new() };
        Self {
            target: plan.target.to_string(),
            ratio: plan.mix.text(),
            model: if plan.rate.is_some() { "open" } else { "closed" },
            rate: plan.rate,
            connections: plan.connections,
            pipeline: plan.pipeline,
            threads: plan.threads,
            keys: plan.keys,
            dist: plan.dist.to_string(),
            value_size: plan.value_size.to_string(),
            seed: plan.seed,
            seconds,
            operations,
            operations_per_second: operations as f64 / seconds,
            misses: tally.misses,
            moved: tally.moved,
            errors: errors(tally),
            by_operation: by_operation(plan, tally),
            own_cpu_us_per_operation: per(measured.own_cpu),
            server_cpu_us_per_operation: (!plan.pids.is_empty()).then(|| per(measured.server_cpu)),
            generator,
            valid: reasons.is_empty(),
            reasons,
        }
    }

    /// A table for people.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { target, ratio, connections, pipeline, threads, keys, .. } = self;
        writeln!(out, "target       {target}, {ratio}, {keys} keys {}", self.dist)?;
        writeln!(
            out,
            "load         {connections} connections, pipeline {pipeline}, {threads} threads, {}",
            self.load()
        )?;
        writeln!(
            out,
            "throughput   {:.0} operations/s ({} in {:.2} s)",
            self.operations_per_second, self.operations, self.seconds
        )?;
        self.print_errors(out)?;
        writeln!(
            out,
            "{:12} {}",
            "latency, us",
            HEADINGS.map(|head| format!("{head:>9}")).join("")
        )?;
        for one in &self.by_operation {
            print_row(out, one.operation, &one.latency_us)?;
            if let Some(service) = &one.service_us {
                print_row(out, "  service", service)?;
            }
        }
        let server = self.server_cpu_us_per_operation;
        let server = server.map_or(String::new(), |cpu| format!("server {cpu:.3}, "));
        writeln!(
            out,
            "cpu us/op    {server}generator {:.3} (its busiest thread {:.0} %)",
            self.own_cpu_us_per_operation, self.generator.busiest_thread_cpu_percent
        )?;
        for reason in &self.reasons {
            writeln!(out, "INVALID      {reason}")?;
        }
        Ok(())
    }

    fn load(&self) -> String {
        match self.rate {
            None => "closed loop: a slow answer delays the next request".to_owned(),
            Some(rate) => format!(
                "open loop: {rate}/s by the clock; lag p99 {} us, max {} us",
                self.generator.lag_p99_us, self.generator.lag_max_us
            ),
        }
    }

    fn print_errors(&self, out: &mut dyn Write) -> io::Result<()> {
        let errors = &self.errors;
        if self.misses + self.moved > 0 {
            writeln!(out, "of these     {} misses, {} moved", self.misses, self.moved)?;
        }
        if self.generator.crowded > 0 {
            let text = "waited for a connection with room; more of them: -c, -P";
            writeln!(out, "crowded      {} sends {text}", self.generator.crowded)?;
        }
        if errors.total + errors.disconnects == 0 {
            return writeln!(out, "errors       0");
        }
        writeln!(
            out,
            "errors       {}: {} refused, {} unknown, {} lost, {} unanswered, {} unsent; \
             {} disconnects",
            errors.total,
            errors.refused,
            errors.unknown,
            errors.lost,
            errors.unanswered,
            errors.unsent,
            errors.disconnects
        )?;
        errors.first.as_ref().map_or(Ok(()), |first| writeln!(out, "the first    {first}"))
    }
}

const HEADINGS: [&str; 7] = ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];

fn print_row(out: &mut dyn Write, name: &str, p: &Percentiles) -> io::Result<()> {
    let cells = [p.p50, p.p90, p.p99, p.p99_9, p.p99_99, p.max];
    write!(out, "{name:12} {:>9.1}", p.mean)?;
    cells.iter().try_for_each(|cell| write!(out, "{cell:>9}"))?;
    writeln!(out)
}

/// How long the measured part was: until the last answer, and at least as planned. A run by count
/// that got no answers any more lasted until it was given up.
fn seconds(plan: &Plan, measured: &Measured) -> f64 {
    let until_last = measured.tally.last.saturating_sub(measured.window.start);
    let nanos = match plan.length {
        Length::Time(nanos) => nanos.max(until_last),
        Length::Requests(_) => {
            until_last.max(measured.tally.given_up.saturating_sub(measured.window.start))
        }
    };
    nanos.max(1) as f64 / SECOND as f64
}

fn errors(tally: &Tally) -> Errors {
    let unanswered = tally.unanswered.iter().sum();
    Errors {
        total: tally.refused + tally.unknown + tally.lost + unanswered + tally.unsent,
        refused: tally.refused,
        unknown: tally.unknown,
        lost: tally.lost,
        unanswered,
        unsent: tally.unsent,
        disconnects: tally.disconnects,
        first: tally.error.clone(),
    }
}

fn by_operation(plan: &Plan, tally: &Tally) -> Vec<ByOperation> {
    let row = |op: Op| ByOperation {
        operation: op.name(),
        count: tally.operations_of(op as usize),
        latency_us: Percentiles::of(&tally.latency[op as usize]),
        service_us: plan.rate.map(|_| Percentiles::of(&tally.service[op as usize])),
    };
    Op::ALL.into_iter().filter(|op| plan.mix.has(*op)).map(row).collect()
}

/// Why the figures of an open loop are the generator's rather than the target's.
fn reasons(generator: &Generator) -> Vec<String> {
    let mut reasons = Vec::new();
    if generator.lag_p99_us > LAG_MAX_US {
        let lag = generator.lag_p99_us;
        reasons.push(format!(
            "1 % of the sends were {lag} us late or more by the generator's own fault, more than \
             {LAG_MAX_US} us: lower --rate, or give -t more threads and cores"
        ));
    }
    if generator.busiest_thread_cpu_percent > CPU_PERCENT_MAX {
        let cpu = generator.busiest_thread_cpu_percent;
        reasons.push(format!(
            "the generator's busiest thread used {cpu:.0} % of a core, more than \
             {CPU_PERCENT_MAX} %: give -t more threads, or lower --rate"
        ));
    }
    reasons
}

/// How late one send in a hundred may be by the generator's own fault.
const LAG_MAX_US: u64 = 1000;
/// CPU of a thread above which it may have had no time to be punctual.
const CPU_PERCENT_MAX: f64 = 90.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(lag_p99_us: u64, busiest_thread_cpu_percent: f64) -> Generator {
        Generator { busiest_thread_cpu_percent, lag_p99_us, lag_max_us: 90_000, crowded: 0 }
    }

    #[test]
    fn a_generator_that_is_late_or_busy_makes_the_figures_invalid() {
        assert!(reasons(&generator(1000, 90.0)).is_empty());
        assert!(reasons(&generator(1001, 10.0))[0].contains("1001 us late"));
        assert!(reasons(&generator(1, 90.5))[0].contains("more than 90 %"));
    }
}
