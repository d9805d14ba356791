//! What `piccolo dev` starts: nodes, which are processes of this same program, and cerializer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use log::LevelFilter;

use super::DevFlags;
use super::ports::Ports;
use crate::cli::error::CliError;

/// Bytes of a line of a node's output at most; longer ones are broken.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A process that was started.
#[derive(Debug)]
pub(super) struct Child {
    /// Its name.
    pub(super) name: String,
    /// Where it says by HTTP whether it is ready.
    pub(super) health: SocketAddr,
    process: std::process::Child,
}

/// What is to be started.
#[derive(Debug)]
pub(super) struct Plan {
    /// For people.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Where it will say by HTTP whether it is ready.
    pub(super) health: SocketAddr,
}

impl Plan {
    /// The node of that index, which creates the cluster if it has no `seed`.
    pub(super) fn node(
        index: usize,
        ports: Ports,
        seed: Option<SocketAddr>,
        flags: &DevFlags,
    ) -> Result<Self, CliError> {
        let name = format!("node-{}", index + 1);
        let arguments = arguments(&name, ports, seed, flags);
        Ok(Self { name, program: this_program()?, arguments, health: ports.admin() })
    }

    /// REST in front of nodes with these ports; `None` if the program is not beside this one.
    pub(super) fn cerializer(
        listen: SocketAddr,
        nodes: &[Ports],
        level: LevelFilter,
    ) -> Result<Option<Self>, CliError> {
        let program = this_program()?.with_file_name("cerializer");
        let addresses: Vec<String> = nodes.iter().map(|node| node.client().to_string()).collect();
        let arguments = vec![
            format!("--listen={listen}"),
            format!("--nodes={}", addresses.join(",")),
            format!("--log-level={level}"),
        ];
        let name = "cerializer".to_owned();
        Ok(program.is_file().then_some(Self { name, program, arguments, health: listen }))
    }
}

fn this_program() -> Result<PathBuf, CliError> {
    let failed = |error| CliError::System { what: "find this program", error };
    std::env::current_exe().map_err(failed)
}

impl Child {
    /// Starts it. Its output is shown line by line; `ended` is called when that ends, with whether
    /// there was any.
    pub(super) fn start(
        plan: Plan,
        ended: impl FnOnce(bool) + Send + 'static,
    ) -> Result<Self, CliError> {
        let failed = |error| CliError::System { what: "start a process", error };
        let Plan { name, program, arguments, health } = plan;
        let (output, its_output) = std::io::pipe().map_err(failed)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(its_output.try_clone().map_err(failed)?)
            .stderr(its_output)
            // Ctrl-C goes to a whole group: the nodes hear it from us, once.
            .process_group(0);
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("PICCOLO_") || name.starts_with("CERIALIZER_") {
                command.env_remove(&variable);
            }
        }
        let process = command.spawn().map_err(failed)?;
        // Here drops our end of its output, so that reading ends when the node does.
        drop(command);
        let prefix = name.clone();
        let copy = move || ended(show(output, &prefix));
        std::thread::Builder::new().name(name.clone()).spawn(copy).map_err(failed)?;
        Ok(Self { name, health, process })
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
        format!("--cluster-client={}", ports.cluster_client()),
        format!("--peer={}", ports.peer()),
        format!("--admin={}", ports.admin()),
        format!("--shards={}", flags.shards),
        format!("--pin={}", flags.pin),
        format!("--log-level={}", flags.log_level),
    ];
    arguments.push(seed.map_or_else(|| "--create".into(), |seed| format!("--join={seed}")));
    arguments
}

/// Copies a node's output to standard error, each line behind the node's name, and says whether
/// there was any.
fn show(output: impl Read, name: &str) -> bool {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    let mut spoke = false;
    loop {
        line.clear();
        match output.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return spoke,
            Ok(_) => {
                spoke = true;
                let text = String::from_utf8_lossy(&line);
                let shown = format!("{name} | {}\n", text.trim_end());
                // Read on even if nobody listens, or the node would wait for us for ever.
                std::io::stderr().write_all(shown.as_bytes()).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_spoken_of_only_where_there_were_some() {
        let told = |output: &[u8]| {
            let (node, status) = ("node-2".into(), "exit status: 1".into());
            CliError::NodeEnded { node, status, spoke: show(output, "node-2") }.to_string()
        };
        let plain = "node-2 ended by itself (exit status: 1)";
        assert_eq!(told(b""), plain);
        assert_eq!(told(b"so long\n"), format!("{plain}: its last words are above"));
        assert_eq!(told(b"so lo"), format!("{plain}: its last words are above"));
    }
}
