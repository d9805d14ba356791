//! Plays the simulator from the command line and prints a table of what came out.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the table is what the program is for")]

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
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// Seeds of each scenario.
    #[arg(long, default_value_t = 16)]
    seeds: u64,
    /// The first seed; with `--seeds 1` it replays that seed alone.
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Share of the nodes that pause 0.5 to 5 s at random, in the quiet scenario.
    #[arg(long, default_value_t = 0.0)]
    slow: f64,
    /// Share of datagrams lost.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Simulated minutes of the quiet scenario, for each seed.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Also cut the cluster into halves, heal it, and see how long it takes to agree.
    #[arg(long)]
    partition: bool,
    /// Simulated minutes that the halves are apart.
    #[arg(long, default_value_t = 60)]
    partition_minutes: u64,
    /// Switch Lifeguard off.
    #[arg(long)]
    plain: bool,
    /// Play only these scenarios
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    only: Vec<Scenario>,
}

fn main() {
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
    for row in report::rows(&plan) {
        println!("{:<44} {}", row.what, row.figures);
    }
    println!("{:<44} {:.1} s", "wall time", began.elapsed().as_secs_f64());
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
        quiet: minutes(options.minutes),
        apart: minutes(options.partition_minutes),
        scenarios: scenarios(options),
    }
}
