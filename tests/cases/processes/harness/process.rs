//! A child process that ends with its case and shows its log if the case fails.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, process, thread};

use super::until;

/// Lines of a log that a failed case shows at most.
const LOG_LINES_SHOWN: usize = 60;

/// Marks the environment of everything that one case started, so that nothing is left unseen. Not
/// named `PICCOLO_*`: those are settings of nodes, and `piccolo dev` keeps them from its nodes.
pub(crate) const MARK: &str = "CASE_OF_PICCOLO";

/// A running child and the file that takes what it prints.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own, its output in a file under `folder`.
    #[track_caller]
    pub(crate) fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        command.stdin(Stdio::null());
        Self::spawn(name, command, folder)
    }

    /// The same with a standard input that says nothing until [`Self::close_stdin`].
    #[track_caller]
    pub(crate) fn start_open(name: &str, mut command: Command, folder: &Path) -> Self {
        command.stdin(Stdio::piped());
        Self::spawn(name, command, folder)
    }

    /// Tells a process that was started open that its input has ended.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    #[track_caller]
    fn spawn(name: &str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("open the log");
        command.process_group(0);
        forget_our_settings(&mut command);
        command.stdout(file.try_clone().expect("a second handle of the log")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self { child, name: name.to_owned(), log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal by name, as `kill -NAME` does, to the process alone.
    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, &self.pid().to_string());
    }

    /// Sends a signal to its whole group, as a terminal does on Ctrl-C.
    #[track_caller]
    pub(crate) fn signal_group(&self, signal: &str) {
        kill(signal, &format!("-{}", self.pid()));
    }

    /// How it ended, or `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("look at a child")
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        until(limit, &what, || self.ended().ok_or_else(|| "it still runs".to_owned()))
    }

    /// Bytes of memory that it has resident, by `/proc`.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Bytes of memory that it had resident at most, by `/proc`.
    pub(crate) fn resident_bytes_peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(path).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a number of KiB") << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // By its own id, group first: what it started ends with it.
            let group = format!("-{}", self.pid());
            drop(Command::new("kill").args(["-KILL", "--", &group]).status());
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            let printed = self.printed();
            let lines: Vec<&str> = printed.lines().collect();
            let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
            let head = format!("--- {} printed {} lines, the last:", self.name, lines.len());
            let shown = [&[head.as_str()], &lines[from..]].concat().join("\n    ") + "\n";
            show(&shown);
        }
    }
}

/// A folder under `target/cases` that is empty at first, and stays for a look after a failure.
pub(crate) fn folder(case: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{case}-{}-{number}", process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cases").join(name);
    fs::create_dir_all(&folder).expect("make a folder for the logs");
    folder
}

/// The `piccolo` that the cases run.
#[track_caller]
pub(crate) fn piccolo() -> PathBuf {
    program("piccolo", "PICCOLO_BIN", "piccolo-engine")
}

/// The `loadgen` that the cases run.
#[track_caller]
pub(crate) fn loadgen() -> PathBuf {
    program("loadgen", "PICCOLO_LOADGEN", "piccolo-loadgen")
}

/// The `cerializer` that the cases run.
#[track_caller]
pub(crate) fn cerializer() -> PathBuf {
    program("cerializer", "PICCOLO_CERIALIZER", "piccolo-cerializer")
}

/// A program of ours: the one that `variable` names, or the release build.
#[track_caller]
fn program(name: &str, variable: &str, package: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    let path =
        env::var_os(variable).map_or_else(|| root.join("target/release").join(name), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing: `cargo build --release -p {package}` first, or name another one in \
         {variable}",
        path.display()
    );
    path
}

/// Runs a program to its end; its output as text, standard error behind standard output.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> (ExitStatus, String) {
    forget_our_settings(command);
    let out = command.stdin(Stdio::null()).output();
    let out = out.unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&out.stderr));
    (out.status, text)
}

/// Runs a program that must succeed; its output.
#[track_caller]
pub(crate) fn run_well(command: &mut Command) -> String {
    let (status, text) = run(command);
    assert!(status.success(), "{command:?}: {status}\n{text}");
    text
}

/// Keeps from our programs what tells the cases where they are: to a node every `PICCOLO_*` is a
/// setting, and it names those that it does not know.
fn forget_our_settings(command: &mut Command) {
    let ours = ["piccolo", "loadgen", "cerializer"];
    if !ours.iter().any(|name| Path::new(command.get_program()).ends_with(name)) {
        return;
    }
    let given: Vec<OsString> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PICCOLO_") && !given.contains(&name) {
            command.env_remove(name);
        }
    }
}

#[track_caller]
fn kill(signal: &str, target: &str) {
    let signal = format!("-{signal}");
    run_well(Command::new("kill").args([&signal, "--", target]));
}

#[expect(clippy::print_stderr, reason = "what a failed case has to say")]
pub(crate) fn show(text: &str) {
    eprint!("{text}");
}

#[test]
fn a_process_is_signalled_and_waited_for() {
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000");
    let mut process = Process::start("sleep", sleeper, &folder("process"));
    assert!(process.ended().is_none() && process.resident_bytes() > 0);
    process.signal("TERM");
    assert!(!process.wait(Duration::from_secs(5)).success());
}
