//! A real NATS server for one test, killed at its end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::until;

/// The version that `./test` installs.
const VERSION: &str = "2.15.1";

/// The server's program: `A4CO_NATS_SERVER`, or the one that `./test` installs.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn program() -> PathBuf {
    let installed = || {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../.tools/nats-{VERSION}/bin/nats-server"))
    };
    let path = std::env::var_os("A4CO_NATS_SERVER").map_or_else(installed, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there: `./test nats` installs it, or name one in A4CO_NATS_SERVER",
        path.display()
    );
    path
}

/// A running server with JetStream.
#[derive(Debug)]
pub struct NatsServer {
    folder: TempDir,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts one on a free port, with further arguments of `nats-server`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("a4co-nats-")
            .tempdir()
            .expect("a temporary folder");
        let mut server = Self {
            folder,
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
            port: 0,
            child: None,
        };
        server.configure("");
        server.launch();
        server
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From the next start on, it is configured so; see the manual of `nats-server`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn configure(&self, text: &str) {
        fs::write(self.configuration(), text).expect("the configuration is written");
    }

    /// A folder of its own, for what its configuration names.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("nats-server.conf")
    }

    /// Its monitoring port, where it was started with `-m -1`.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn monitor(&self) -> String {
        let url = self.ports()["monitoring"][0].as_str().map(str::to_owned);
        let url = url.expect("a monitoring port");
        let port = url.rsplit(':').next().expect("a port");
        format!("http://127.0.0.1:{port}")
    }

    fn ports(&self) -> Value {
        let child = self.child.as_ref().expect("a running server");
        let name = format!("nats-server_{}.ports", child.id());
        let text = fs::read(self.folder.path().join(name)).expect("its ports");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// Kills it without a warning.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// Starts it again, on the same port and with what it had stored.
    ///
    /// # Panics
    /// When it does not start.
    pub fn launch(&mut self) {
        let root = self.folder.path();
        let port = if self.port == 0 {
            "-1".to_owned()
        } else {
            self.port.to_string()
        };
        let child = Command::new(program())
            .args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"])
            .arg(root.join("jetstream"))
            .arg("--ports_file_dir")
            .arg(root)
            .arg("-c")
            .arg(self.configuration())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server can be started");
        let ports = root.join(format!("nats-server_{}.ports", child.id()));
        self.child = Some(child);
        self.port = until("the NATS server's port", || {
            let text = fs::read(&ports).map_err(|error| error.to_string())?;
            let ports: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            let url = ports["nats"][0].as_str().ok_or("no port yet")?;
            let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
            port.ok_or_else(|| format!("no port in {url}"))
        });
    }

    /// Publishes bytes as a foreign client would, without headers.
    ///
    /// # Panics
    /// When the server does not take them.
    pub fn publish(&self, subject: &str, payload: &[u8]) {
        let sent = self.send("{\"verbose\":false}", subject, payload);
        sent.expect("a message that the server takes");
    }

    /// The same, as somebody.
    ///
    /// # Errors
    /// What the server has against it.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn try_publish(
        &self,
        user: &str,
        password: &str,
        subject: &str,
        payload: &[u8],
    ) -> Result<(), String> {
        let options = serde_json::json!({ "verbose": false, "user": user, "pass": password });
        self.send(&options.to_string(), subject, payload)
    }

    fn send(&self, options: &str, subject: &str, payload: &[u8]) -> Result<(), String> {
        let mut line = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        let head = format!("CONNECT {options}\r\nPUB {subject} {}\r\n", payload.len());
        let message = [head.as_bytes(), payload, b"\r\nPING\r\n"].concat();
        line.write_all(&message).expect("sent");
        let mut heard = Vec::new();
        let mut some = [0; 4096];
        loop {
            let told = String::from_utf8_lossy(&heard);
            if let Some((_, error)) = told.split_once("-ERR ") {
                return Err(error.to_owned());
            }
            if told.contains("PONG") {
                return Ok(());
            }
            let length = line.read(&mut some).expect("an answer");
            assert!(length > 0, "the NATS server closed the connection");
            heard.extend_from_slice(&some[..length]);
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Three servers that keep three copies of everything.
#[derive(Debug)]
pub struct NatsCluster {
    folder: TempDir,
    /// For clients and for the other servers.
    ports: [(u16, u16); 3],
    children: [Option<Child>; 3],
}

impl NatsCluster {
    /// Starts three, and waits until they are one.
    ///
    /// # Panics
    /// When they do not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("a4co-nats-")
            .tempdir()
            .expect("a temporary folder");
        // All are held until all are known, so that they differ.
        let held = [(); 6].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
        let ports = held
            .each_ref()
            .map(|held| held.local_addr().expect("an address").port());
        drop(held);
        let mut cluster = Self {
            folder,
            ports: [
                (ports[0], ports[1]),
                (ports[2], ports[3]),
                (ports[4], ports[5]),
            ],
            children: [const { None }; 3],
        };
        for place in 0..3 {
            cluster.launch(place);
        }
        cluster
    }

    /// Where they answer.
    #[must_use]
    pub fn urls(&self) -> String {
        let urls = self
            .ports
            .map(|(port, _)| format!("nats://127.0.0.1:{port}"));
        urls.join(",")
    }

    /// Kills one without a warning.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill(&mut self, place: usize) {
        let mut child = self.children[place].take().expect("a running server");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// Starts one again, with what it had stored.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn launch(&mut self, place: usize) {
        let routes = self
            .ports
            .map(|(_, route)| format!("nats://127.0.0.1:{route}"))
            .join(",");
        let (port, route) = self.ports[place];
        let child = Command::new(program())
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(self.folder.path().join(format!("server-{place}")))
            .args(["-n", &format!("server-{place}"), "--cluster_name", "a4co"])
            .args(["--cluster", &format!("nats://127.0.0.1:{route}")])
            .args(["--routes", &routes])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server can be started");
        self.children[place] = Some(child);
    }
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for mut child in self.children.iter_mut().filter_map(Option::take) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
