//! How a node comes by its cluster, as its command line, its environment and its file say it.
//!
//! These three settings are one: whichever of them says how, says all of it.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::value::whole;

/// The flags as clap reads them, whoever said them.
#[derive(Args, Debug)]
struct Flags {
    /// Begin a new cluster, of this node alone
    #[arg(long, env = "PICCOLO_CREATE")]
    create: bool,
    /// Enter the cluster of these nodes' peer addresses
    #[arg(long, env = "PICCOLO_JOIN", value_name = "ADDR,..", value_delimiter = ',')]
    join: Option<Vec<String>>,
    /// With --join: create the cluster once N nodes without one have found each other
    #[arg(long, env = "PICCOLO_EXPECT", value_name = "N",
          value_parser = whole::<usize>("nodes, this one too, such as 2"))]
    expect: Option<usize>,
}

/// The same, as far as anybody said anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartFlags {
    /// Whether to begin a cluster.
    pub create: Option<bool>,
    /// Peer addresses of a cluster to enter.
    pub join: Option<Vec<String>>,
    /// Nodes without a cluster that create one together.
    pub expect: Option<usize>,
}

impl StartFlags {
    /// What these say, and what `lower` says as long as these do not say themselves how to start.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        if self.create == Some(true) || self.join.is_some() {
            return self;
        }
        Self {
            create: self.create.or(lower.create),
            join: lower.join,
            expect: self.expect.or(lower.expect),
        }
    }

    /// What `source` said.
    fn of(matches: &ArgMatches, source: ValueSource) -> Result<Self, clap::Error> {
        let Flags { create, join, expect } = Flags::from_arg_matches(matches)?;
        let said = |name| matches.value_source(name) == Some(source);
        Ok(Self {
            create: said("create").then_some(create),
            join: join.filter(|_| said("join")),
            expect: expect.filter(|_| said("expect")),
        })
    }
}

impl Args for StartFlags {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}

impl FromArgMatches for StartFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let line = Self::of(matches, ValueSource::CommandLine)?;
        Ok(line.over(Self::of(matches, ValueSource::EnvVariable)?))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let lower = std::mem::take(self);
        *self = Self::from_arg_matches(matches)?.over(lower);
        Ok(())
    }
}
