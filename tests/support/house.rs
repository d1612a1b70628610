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

/// The binary under test: of `MEDIARY_BIN`, else the one built by the same `cargo` run.
pub fn binary() -> PathBuf {
    if let Some(binary) = std::env::var_os("MEDIARY_BIN") {
        return std::fs::canonicalize(binary).expect("MEDIARY_BIN names the server");
    }
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
    beside: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    open_files: Option<usize>,
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
    pub fn file(mut self, path: &str, text: impl Into<String>) -> Self {
        self.beside.push((path.to_owned(), text.into()));
        self
    }

    /// The most files that the server may have open.
    pub fn open_files(mut self, most: usize) -> Self {
        self.open_files = Some(most);
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
        config.push_str("log.format = \"json\"\n");
        if !self.config.contains("listen.address") {
            config.push_str("listen.address = \"127.0.0.1:0\"\n");
        }
        config.push_str(&self.config);
        write(folder.path(), "mediary.toml", &config);
        for (path, toml) in &self.rows {
            write(folder.path(), &format!("catalog/{path}"), toml);
        }
        for (path, text) in &self.beside {
            write(folder.path(), path, text);
        }
        let log = Arc::default();
        let (child, address) = serve(folder.path(), &self.environment, self.open_files, &log);
        House { address, folder, environment: self.environment, child, log }
    }
}

/// Starts the process and waits until it listens.
fn serve(
    folder: &Path,
    environment: &[(String, String)],
    open_files: Option<usize>,
    log: &Arc<Mutex<Vec<String>>>,
) -> (Child, String) {
    let mut command = match open_files {
        Some(most) => {
            let mut command = Command::new("prlimit");
            command.arg(format!("--nofile={most}:{most}")).arg(binary());
            command
        }
        None => Command::new(binary()),
    };
    let mut child = command
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
        if let Some(address) = address_in(line, "listening on") {
            let _ = told.send(address);
        }
    });
    match heard.recv_timeout(Duration::from_secs(20)) {
        // All addresses of this machine: it is called by one.
        Ok(address) => (child, address.replace("0.0.0.0", "127.0.0.1")),
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

    /// Where the admin services have a listener of their own.
    pub fn admin_address(&self) -> String {
        self.wait_for_log("listening to admins on");
        let log = self.log.lock().unwrap();
        log.iter().find_map(|line| address_in(line, "listening to admins on")).unwrap()
    }

    /// Waits until the log says `words`.
    pub fn wait_for_log(&self, words: &str) {
        let begin = Instant::now();
        while !self.log().contains(words) {
            assert!(begin.elapsed() < Duration::from_secs(20), "no {words:?} in:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes a file beside `mediary.toml`, whole from one moment to the next.
    pub fn rewrite(&self, path: &str, text: &str) {
        write(self.folder.path(), ".new", text);
        fs::rename(self.folder.path().join(".new"), self.folder.path().join(path)).unwrap();
    }

    /// How many files and sockets the server has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// Processor time that the server has used.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let fields = stat.rsplit_once(')').expect("a name in brackets").1;
        let mut fields = fields.split_whitespace();
        fields.nth(10); // the state of the process, and what is not time
        let mut ticks = || fields.next().unwrap().parse::<u64>().unwrap();
        Duration::from_millis((ticks() + ticks()) * 10)
    }

    /// Memory that the server holds, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.kib("smaps_rollup", "Rss:")
    }

    /// The most memory that the server has held so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.kib("status", "VmHWM:")
    }

    fn kib(&self, file: &str, fact: &str) -> u64 {
        let facts = fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap();
        let line = facts.lines().find(|line| line.starts_with(fact)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
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
        (self.child, self.address) = serve(self.folder.path(), &self.environment, None, &self.log);
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

/// A command that went well, whatever it said.
pub fn well(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// The value beside a name, as `show` prints it.
pub fn value<'a>(ran: &'a Ran, name: &str) -> &'a str {
    let line = ran.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_default().trim()
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

/// Lets the test itself have as many files open as it may, for tests with many sockets.
pub fn many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
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

fn address_in(line: &str, words: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = line.get("message")?.as_str()?;
    message.starts_with(words).then(|| line["address"].as_str().unwrap().to_owned())
}
