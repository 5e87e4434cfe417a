//! A running `a4co serve`, and its end.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::until;

/// The binary under test: `A4CO_BIN`, or the one that lies beside the tests.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("A4CO_BIN").map_or_else(
        || {
            let tests = std::env::current_exe().expect("the path of this test");
            let folder = tests.ancestors().nth(2).expect("the target folder");
            folder.join("a4co")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is not there: build it with `cargo build -p a4co`, or name it in A4CO_BIN",
        path.display()
    );
    path
}

/// Runs `a4co` with these arguments to its end, away from this environment's settings.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(arguments: &[&str]) -> Output {
    run_with(arguments, &[])
}

/// As [`run`], with these environment variables.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run_with(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = command();
    command.args(arguments).stdin(Stdio::null());
    command.envs(env.iter().copied());
    command.output().expect("a4co can be started")
}

fn command() -> Command {
    let mut command = Command::new(binary());
    let ours = [
        "NATS_URL",
        "USE_SIMULATED_PAYMENT",
        "PAYMENT_SUCCESS_RATE",
        "LOG_LEVEL",
    ];
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_ours = ["A4CO_", "STRIPE_", "OTEL_"]
            .iter()
            .any(|it| name.starts_with(it));
        if is_ours || ours.contains(&name.as_str()) {
            command.env_remove(&name);
        }
    }
    command
}

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Options {
    folder: Folder,
    listen: String,
    flags: Vec<String>,
    env: Vec<(String, String)>,
}

/// Where a server keeps what it has. The folder goes when nobody uses it any more.
#[derive(Debug, Clone)]
struct Folder {
    root: Arc<TempDir>,
    data: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// A new data folder, a free port, small files.
    ///
    /// # Panics
    /// When there can be no folder.
    #[must_use]
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("a4co-e2e-")
            .tempdir()
            .expect("a temporary folder");
        let data = root.path().join("data");
        Self {
            folder: Folder {
                root: Arc::new(root),
                data,
            },
            listen: "127.0.0.1:0".to_owned(),
            flags: Vec::new(),
            env: Vec::new(),
        }
        .flag("--journal-segment-mib", "16")
        .flag("--min-free-disk-mib", "1")
    }

    /// One more flag; of one that is there already, the value is replaced.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        if let Some(at) = self.flags.iter().position(|known| known == name) {
            value.clone_into(&mut self.flags[at + 1]);
        } else {
            self.flags.extend([name.to_owned(), value.to_owned()]);
        }
        self
    }

    /// One more environment variable, for what has no flag.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another data folder.
    #[must_use]
    pub fn data(mut self, data: &Path) -> Self {
        data.clone_into(&mut self.folder.data);
        self
    }

    /// Another address.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.folder.data
    }

    /// A folder that lives as long as the data.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.folder.root.path()
    }

    fn arguments(&self) -> Vec<String> {
        let data = self.folder.data.to_string_lossy().into_owned();
        let mut arguments = ["serve", "--log-format", "json", "--listen", &self.listen]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(["--data-dir".to_owned(), data]);
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready; with what it logged.
    #[must_use]
    #[track_caller]
    pub fn start(&self) -> Server {
        let log = self
            .scratch()
            .join(format!("{:08x}.log", fastrand::u32(..)));
        let stderr = File::create(&log).expect("a file for the log");
        let mut command = command();
        command
            .args(self.arguments())
            .current_dir(self.scratch())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().expect("a4co can be started");
        let mut server = Server {
            child: Some(child),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            options: self.clone(),
            log,
        };
        server.address = server.wait_for_address();
        server.wait_until_ready();
        server
    }

    /// Starts a server and kills it after a while, wherever it may be by then.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_and_kill(&self, after: Duration) {
        let child = command()
            .args(self.arguments())
            .current_dir(self.scratch())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let running = Running(child.expect("a4co can be started"));
        std::thread::sleep(after);
        drop(running);
    }

    /// Starts a server that is expected to refuse: its exit status, and what it said.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn start_and_fail(&self) -> (ExitStatus, String) {
        let mut child = command()
            .args(self.arguments())
            .current_dir(self.scratch())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a4co can be started");
        let mut stderr = child.stderr.take().expect("its output is piped");
        let reader = std::thread::spawn(move || {
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said);
            said
        });
        // Killed if it goes on instead.
        let mut guard = Running(child);
        let status = until("a server that should refuse to start", || guard.ended());
        (status, reader.join().expect("its output is read"))
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn ended(&mut self) -> Result<ExitStatus, String> {
        let ended = self.0.try_wait().map_err(|error| error.to_string())?;
        ended.ok_or_else(|| "it is running".to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server. It is killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    address: SocketAddr,
    options: Options,
    log: PathBuf,
}

impl Server {
    /// A server with a new data folder.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Options::new().start()
    }

    /// A new client, with connections of its own.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it was started, to start it again.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// What it logged so far.
    #[must_use]
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end, as an operator's system does.
    ///
    /// # Panics
    /// When there is no such process any more.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it stands, as SIGSTOP does.
    ///
    /// # Panics
    /// When there is no such process any more.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When there is no such process any more.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end and waits for that.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let status = until("the end of the server", || {
            let child = self.child.as_mut().ok_or("it was taken already")?;
            let ended = child.try_wait().map_err(|error| error.to_string())?;
            ended.ok_or_else(|| "it is running".to_owned())
        });
        self.child = None;
        status
    }

    /// `kill -9`, and nothing else.
    pub fn kill(mut self) {
        self.end();
    }

    /// Stops it orderly and starts it again with the same data.
    ///
    /// # Panics
    /// When its end is not clean.
    #[must_use]
    #[track_caller]
    pub fn restart(self) -> Self {
        let options = self.options.clone();
        let log = self.log.clone();
        let status = self.stop();
        assert!(
            status.success(),
            "the server ended with {status}:\n{}",
            fs::read_to_string(log).unwrap_or_default()
        );
        options.start()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a running server");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a signal can be sent");
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The system chose the port, and the server says which one.
    #[track_caller]
    fn wait_for_address(&mut self) -> SocketAddr {
        until("the server's address", || {
            self.is_running()?;
            let logged = self.logged();
            let address = logged.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let address: SocketAddr = line.get("listen")?.as_str()?.parse().ok()?;
                (address.port() != 0).then_some(address)
            });
            address.ok_or(logged)
        })
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        let client = self.client();
        until("a server that is ready", || {
            self.is_running()?;
            let answer = client.try_get("/health/ready")?;
            match answer.status {
                200 => Ok(()),
                _ => Err(format!("{answer:?}; it logged:\n{}", self.logged())),
            }
        });
    }

    #[track_caller]
    fn is_running(&mut self) -> Result<(), String> {
        let child = self.child.as_mut().ok_or("it was taken already")?;
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        assert!(
            ended.is_none(),
            "the server ended before it was ready ({ended:?}):\n{}",
            self.logged()
        );
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let logged = self.logged();
            let lines: Vec<&str> = logged.lines().collect();
            let last = &lines[lines.len().saturating_sub(30)..];
            eprintln!("the server's last lines:\n{}", last.join("\n"));
        }
    }
}
