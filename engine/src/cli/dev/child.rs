//! One node of `piccolo dev`: a process of this same program.

use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::DevFlags;
use super::ports::Ports;
use crate::cli::error::CliError;

/// Bytes of a line of a node's output at most; longer ones are broken.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A node that was started.
#[derive(Debug)]
pub(super) struct Child {
    /// Its name.
    pub(super) name: String,
    /// Its ports.
    pub(super) ports: Ports,
    process: std::process::Child,
}

impl Child {
    /// Starts the node of that index, which creates the cluster if it has no `seed`. Its output
    /// is shown line by line; `ended` is called when that ends.
    pub(super) fn start(
        index: usize,
        ports: Ports,
        seed: Option<SocketAddr>,
        flags: &DevFlags,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<Self, CliError> {
        let failed = |error| CliError::System { what: "start a node", error };
        let name = format!("node-{}", index + 1);
        let (output, its_output) = std::io::pipe().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .args(arguments(&name, ports, seed, flags))
            .stdin(Stdio::null())
            .stdout(its_output.try_clone().map_err(failed)?)
            .stderr(its_output)
            // Ctrl-C goes to a whole group: the nodes hear it from us, once.
            .process_group(0);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PICCOLO_") {
                command.env_remove(variable);
            }
        }
        let process = command.spawn().map_err(failed)?;
        // Here drops our end of its output, so that reading ends when the node does.
        drop(command);
        let prefix = name.clone();
        let copy = move || {
            show(output, &prefix);
            ended();
        };
        std::thread::Builder::new().name(name.clone()).spawn(copy).map_err(failed)?;
        Ok(Self { name, ports, process })
    }

    /// Whether the process has not ended yet.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Asks it to stop. The shell has the only `kill` that is everywhere and needs no unsafe
    /// code. The id is ours until it is waited for, so no other process can have it.
    pub(super) fn terminate(&mut self) {
        let id = self.process.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        if !sent.is_ok_and(|status| status.success()) {
            self.kill();
        }
    }

    /// Ends it now, if it has not ended.
    pub(super) fn kill(&mut self) {
        // It fails only for one that has ended.
        self.process.kill().unwrap_or_default();
    }

    /// Waits for its end, and says how it ended if not in good order.
    pub(super) fn wait(&mut self) -> Result<(), String> {
        match self.process.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn arguments(name: &str, ports: Ports, seed: Option<SocketAddr>, flags: &DevFlags) -> Vec<String> {
    let mut arguments = vec![
        "serve".to_owned(),
        format!("--name={name}"),
        format!("--client={}", ports.client()),
        format!("--peer={}", ports.peer()),
        format!("--admin={}", ports.admin()),
        format!("--shards={}", flags.shards),
        format!("--pin={}", flags.pin),
        format!("--log-level={}", flags.log_level),
    ];
    arguments.push(seed.map_or_else(|| "--create".into(), |seed| format!("--join={seed}")));
    arguments
}

/// Copies a node's output to standard error, each line below the node's name.
fn show(output: PipeReader, name: &str) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match output.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let shown = format!("{name} | {}\n", text.trim_end());
                // Read on even if nobody listens, or the node would wait for us for ever.
                std::io::stderr().write_all(shown.as_bytes()).unwrap_or_default();
            }
        }
    }
}
