//! Plays the simulator from the command line and prints a table of what came out.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of the command line")]

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use piccolo_gossip::Config;
use piccolo_tests::membership::report::{self, Plan, Scenario};
use piccolo_tests::membership::scenarios::Setting;

/// Plays the simulator and prints a table of what came out.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Real gossip cores on a virtual network: how fast, how often wrong, how costly.
    Membership(Membership),
}

#[derive(clap::Args)]
struct Membership {
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 100, value_parser = within(NODES, "nodes", 100))]
    nodes: usize,
    /// Seeds of each scenario.
    #[arg(long, default_value_t = 16, value_parser = within(SEEDS, "seeds", 16))]
    seeds: u64,
    /// The first seed; with `--seeds 1` it replays that seed alone.
    #[arg(long, default_value_t = 0, value_parser = within(FIRST_SEED, "a seed", 7))]
    first_seed: u64,
    /// Share of the nodes that pause 0.5 to 5 s at random, in the quiet scenario: 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = within(SLOW, "a share of the nodes", 0.1))]
    slow: f64,
    /// Share of datagrams lost: 0, or more, but below 1.
    #[arg(long, default_value_t = 0.0, value_parser = loss)]
    loss: f64,
    /// Simulated minutes of the quiet scenario, for each seed.
    #[arg(long, default_value_t = 10, value_parser = within(MINUTES, "minutes", 10))]
    minutes: u64,
    /// Simulated minutes from when all have come in until the quiet scenario counts: news of a
    /// thousand newcomers takes two to die down.
    #[arg(long, default_value_t = 1, value_parser = within(MINUTES, "minutes", 1))]
    lead: u64,
    /// Also cut the cluster into halves, heal it, and see how long it takes to agree.
    #[arg(long)]
    partition: bool,
    /// Simulated minutes that the halves are apart.
    #[arg(long, default_value_t = 60, value_parser = within(MINUTES, "minutes", 60))]
    partition_minutes: u64,
    /// Switch Lifeguard off.
    #[arg(long)]
    plain: bool,
    /// Play only these scenarios
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    only: Vec<Scenario>,
}

/// Two, since somebody must see what befalls another; a thousand is what was measured.
const NODES: RangeInclusive<usize> = 2..=1000;
const SEEDS: RangeInclusive<u64> = 1..=1_000_000;
/// So high that the last seed still fits 64 bits.
const FIRST_SEED: RangeInclusive<u64> = 0..=1_000_000_000_000_000_000;
const SLOW: RangeInclusive<f64> = 0.0..=1.0;
/// Up to ten weeks.
const MINUTES: RangeInclusive<u64> = 1..=100_000;

/// Reads numbers of a range; what is refused is told the range and an example.
fn within<T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static>(
    range: RangeInclusive<T>,
    what: &'static str,
    example: T,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (lowest, highest) = (range.start(), range.end());
        number.ok_or_else(|| format!("give {what} from {lowest} to {highest}, such as {example}"))
    }
}

/// Reads a share of datagrams of which some get through.
fn loss(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or("give a share from 0 to below 1 (at 1 nothing gets through), such as 0.05")
}

fn main() -> ExitCode {
    let Cli { what: What::Membership(options) } = Cli::parse();
    #[expect(clippy::disallowed_methods, reason = "how long the program itself took")]
    let began = Instant::now();
    let plan = plan(&options);
    println!(
        "{} nodes, {} seeds from {}, loss {}, slow {}, lifeguard {}",
        options.nodes,
        options.seeds,
        options.first_seed,
        options.loss,
        options.slow,
        if options.plain { "off" } else { "on" }
    );
    explain_panics(options.loss);
    for row in report::rows(&plan) {
        println!("{:<44} {}", row.what, row.figures);
    }
    println!("{:<44} {:.1} s", "wall time", began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// A scenario that does not come to its end panics, in a thread of its own: says what that means.
fn explain_panics(loss: f64) {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        eprintln!(
            "sim: a scenario did not come to its end (see above): at a loss of {loss} nodes may \
             not find each other in time; below 0.5 that is a fault: report it with this command"
        );
        std::process::exit(1);
    }));
}

/// What to play: what was asked for, or all but the partition, which takes longest.
fn scenarios(options: &Membership) -> Vec<Scenario> {
    if !options.only.is_empty() {
        return options.only.clone();
    }
    let wanted = |scenario: &Scenario| *scenario != Scenario::Partition || options.partition;
    Scenario::ALL.into_iter().filter(wanted).collect()
}

fn plan(options: &Membership) -> Plan {
    let config = Config::default();
    let config = if options.plain { config.without_lifeguard() } else { config };
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    Plan {
        setting: Setting { nodes: options.nodes, loss: options.loss, slow: options.slow, config },
        seeds: options.seeds,
        first_seed: options.first_seed,
        lead: minutes(options.lead),
        quiet: minutes(options.minutes),
        apart: minutes(options.partition_minutes),
        scenarios: scenarios(options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Membership, clap::Error> {
        let line = format!("sim membership {line}");
        Cli::try_parse_from(line.split(' ')).map(|Cli { what: What::Membership(options) }| options)
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range_and_an_example() {
        for (line, range) in [
            ("--nodes 0", "nodes from 2 to 1000, such as 100"),
            ("--nodes 1", "nodes from 2 to 1000, such as 100"),
            ("--nodes 1001", "nodes from 2 to 1000, such as 100"),
            ("--nodes many", "nodes from 2 to 1000, such as 100"),
            ("--loss 1", "from 0 to below 1 (at 1 nothing gets through), such as 0.05"),
            ("--loss 2", "from 0 to below 1 (at 1 nothing gets through), such as 0.05"),
            ("--loss nan", "from 0 to below 1 (at 1 nothing gets through), such as 0.05"),
            ("--slow 5", "a share of the nodes from 0 to 1, such as 0.1"),
            ("--slow NaN", "a share of the nodes from 0 to 1, such as 0.1"),
            ("--seeds 0", "seeds from 1 to 1000000, such as 16"),
            ("--first-seed 18446744073709551615", "a seed from 0 to 1000000000000000000"),
            ("--minutes 0", "minutes from 1 to 100000, such as 10"),
            ("--partition-minutes 0", "minutes from 1 to 100000, such as 60"),
        ] {
            let error = options(line).err().unwrap_or_else(|| panic!("{line} is taken"));
            let (flag, given) = line.split_once(' ').unwrap();
            let told = error.to_string();
            let first = told.lines().next().unwrap();
            assert!(first.contains(flag) && first.contains(&format!("'{given}'")), "{told}");
            assert!(first.contains(range), "{told}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_ends_of_each_range_are_taken() {
        for line in ["--nodes 2 --seeds 1 --minutes 1 --slow 0 --loss 0", "--slow 1 --loss 0.999"] {
            assert!(options(line).is_ok(), "{line}");
        }
    }

    /// Two nodes are the fewest that can be measured: every figure is a number.
    #[test]
    fn the_smallest_cluster_gives_figures() {
        let options = options("--nodes 2 --seeds 1 --minutes 1 --partition").unwrap();
        for row in report::rows(&Plan { apart: Duration::from_mins(1), ..plan(&options) }) {
            assert!(!row.figures.contains("NaN") && !row.figures.contains("inf"), "{row:?}");
        }
    }
}
