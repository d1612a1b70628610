//! A server process of the test's own.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use mediary_client::Client;
use tempfile::TempDir;

/// The binary under test, built by the same `cargo` run.
pub fn binary() -> PathBuf {
    let mut folder = std::env::current_exe().expect("tests know where they are");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let binary = folder.join("mediary");
    assert!(binary.exists(), "{} is missing: run `make test`", binary.display());
    binary
}

/// How the server shall stand. Starts with nothing: no file, no environment.
#[derive(Default)]
pub struct Plan {
    config: String,
    rows: Vec<(String, String)>,
    files: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

/// A running server. Dropping it kills the process and fails the test if it had panicked.
pub struct House {
    pub address: String,
    pub folder: TempDir,
    environment: Vec<(String, String)>,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Plan {
    /// Lines of `mediary.toml`.
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// A row laid over the built-in catalog: `providers/x.toml` or `models/x.toml`.
    pub fn row(mut self, path: &str, toml: impl Into<String>) -> Self {
        self.rows.push((path.to_owned(), toml.into()));
        self
    }

    /// A file beside `mediary.toml`.
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub fn start(self) -> House {
        let folder = TempDir::new().expect("a folder");
        let mut config = String::new();
        if !self.rows.is_empty() {
            config.push_str("catalog.directory = \"catalog\"\n");
        }
        config.push_str("log.format = \"json\"\nlisten.address = \"127.0.0.1:0\"\n");
        config.push_str(&self.config);
        write(folder.path(), "mediary.toml", &config);
        for (path, toml) in &self.rows {
            write(folder.path(), &format!("catalog/{path}"), toml);
        }
        for (path, text) in &self.files {
            write(folder.path(), path, text);
        }
        let log = Arc::default();
        let (child, address) = serve(folder.path(), &self.environment, &log);
        House { address, folder, environment: self.environment, child, log }
    }
}

/// Starts the process and waits until it listens.
fn serve(
    folder: &Path,
    environment: &[(String, String)],
    log: &Arc<Mutex<Vec<String>>>,
) -> (Child, String) {
    let mut child = Command::new(binary())
        .arg("serve")
        .current_dir(folder)
        .env_clear()
        .env("RUST_BACKTRACE", "1")
        .envs(environment.iter().cloned())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let (told, heard) = std::sync::mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let stderr = BufReader::new(child.stderr.take().unwrap());
    collect(stderr, log.clone(), |_| {});
    collect(stdout, log.clone(), move |line| {
        if let Some(address) = address_in(line) {
            let _ = told.send(address);
        }
    });
    match heard.recv_timeout(Duration::from_secs(20)) {
        Ok(address) => (child, address),
        Err(_) => panic!("the server did not start:\n{}", log.lock().unwrap().join("\n")),
    }
}

impl House {
    pub fn plan() -> Plan {
        Plan::default()
    }

    /// A server with the sandbox and nothing else.
    pub fn new() -> Self {
        Plan::default().start()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn client(&self) -> Client {
        Client::builder().url(self.url()).build().expect("a client")
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(done.success());
    }

    /// For the next process: empty is as good as unset.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Kills the process as a crash would, and starts another on the same folder.
    pub fn kill_and_restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.restart();
    }

    /// Starts another process on the same folder, once the one before has ended.
    pub fn restart(&mut self) {
        (self.child, self.address) = serve(self.folder.path(), &self.environment, &self.log);
    }

    /// Waits for the process to end; how long that took, and whether it said it went well.
    pub fn wait_for_exit(&mut self, patience: Duration) -> (Duration, bool) {
        let begin = Instant::now();
        while begin.elapsed() < patience {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (begin.elapsed(), status.success());
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the server still runs after {patience:?}:\n{}", self.log());
    }

    /// Runs a command of the binary against this server.
    pub fn run(&self, arguments: &[&str], input: &str) -> Ran {
        run(self.folder.path(), &[("MEDIARY_URL", &self.url())], arguments, input)
    }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary with nothing but `environment`.
pub fn run(folder: &Path, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("the command ends");
    writer.join().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if log.contains("panicked at") && !thread::panicking() {
            panic!("the server panicked:\n{log}");
        }
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn collect(
    lines: impl BufRead + Send + 'static,
    log: Arc<Mutex<Vec<String>>>,
    seen: impl Fn(&str) + Send + 'static,
) {
    thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            seen(&line);
            log.lock().unwrap().push(line);
        }
    });
}

fn address_in(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = line.get("message")?.as_str()?;
    message.starts_with("listening on").then(|| line["address"].as_str().unwrap().to_owned())
}
