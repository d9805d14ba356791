//! The process as the system sees it, under the names that all Prometheus clients use.
//!
//! The feature `process` of the prometheus crate does the same with a second `rustix` and two
//! crates more, and tells processor time in whole seconds.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use rustix::param::clock_ticks_per_second;

use super::families::Families;

/// Reads `/proc` for every scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    descriptions: Vec<Desc>,
}

impl ProcessCollector {
    pub(super) fn new() -> Self {
        Self { descriptions: families(&Sample::default()).descriptions() }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Without /proc nothing is told rather than something wrong.
        Sample::take().map_or_else(Vec::new, |sample| families(&sample).into_inner())
    }
}

/// What is known of the process at a moment.
#[derive(Debug, Default, PartialEq)]
struct Sample {
    cpu_seconds: f64,
    start_seconds: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
    descriptors: u64,
    descriptors_max: u64,
}

impl Sample {
    fn take() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).ok();
        let descriptors = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        let ticks = clock_ticks_per_second() as f64;
        let mut sample = Self::of(
            &read("/proc/self/stat")?,
            &read("/proc/self/status")?,
            &read("/proc/self/limits")?,
            &read("/proc/stat")?,
            ticks,
        )?;
        // Listing them took one.
        sample.descriptors = descriptors.saturating_sub(1);
        Some(sample)
    }

    /// Out of the texts of the system (source: proc(5)).
    fn of(stat: &str, status: &str, limits: &str, system: &str, ticks: f64) -> Option<Self> {
        // Behind the name, which may hold anything, comes field 3.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let boot = number_behind(system, "btime")?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
            start_seconds: boot as f64 + field(22)? as f64 / ticks,
            threads: number_behind(status, "Threads:")?,
            virtual_bytes: number_behind(status, "VmSize:")? << 10,
            resident_bytes: number_behind(status, "VmRSS:")? << 10,
            descriptors: 0,
            // "unlimited" is no number.
            descriptors_max: number_behind(limits, "Max open files").unwrap_or(u64::MAX),
        })
    }
}

/// The number right behind the word that begins a line.
fn number_behind(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn families(sample: &Sample) -> Families {
    let mut to = Families::default();
    to.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
        .fraction(sample.cpu_seconds);
    to.gauge("process_open_fds", "Number of open file descriptors.").is(sample.descriptors);
    to.gauge("process_max_fds", "Maximum number of open file descriptors.")
        .is(sample.descriptors_max);
    to.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
        .is(sample.virtual_bytes);
    to.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
        .is(sample.resident_bytes);
    let help = "Start time of the process since unix epoch in seconds.";
    to.gauge("process_start_time_seconds", help).fraction(sample.start_seconds);
    to.gauge("process_threads", "Number of OS threads in the process.").is(sample.threads);
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_the_system_are_read() {
        // Field 14 is 150, field 15 is 50, field 22 is 1234.
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 5 0 0 0 150 50 0 0 20 0 3 0 1234 9 9";
        let status = "Name:\ta\nVmSize:\t   100 kB\nVmRSS:\t    10 kB\nThreads:\t3\n";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";
        let sample = Sample::of(stat, status, limits, "cpu 1\nbtime 1700000000\n", 100.0).unwrap();
        let wanted = Sample {
            cpu_seconds: 2.0,
            start_seconds: 1_700_000_012.34,
            threads: 3,
            virtual_bytes: 100 << 10,
            resident_bytes: 10 << 10,
            descriptors: 0,
            descriptors_max: 1024,
        };
        assert_eq!(sample, wanted);
    }

    #[test]
    fn this_process_has_memory_threads_and_a_start() {
        let sample = Sample::take().unwrap();
        assert!(sample.resident_bytes > 1 << 20 && sample.virtual_bytes > sample.resident_bytes);
        assert!(sample.threads >= 1 && (1..sample.descriptors_max).contains(&sample.descriptors));
        assert!(sample.start_seconds > 1.7e9, "{sample:?}");
    }
}
