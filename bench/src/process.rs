//! The processes that are measured: starting them, and what they used, as the kernel counts it.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::Result;

/// `utime` and `stime` are counted in 1/100 s on every Linux (USER_HZ).
const TICK: Duration = Duration::from_millis(10);
const START_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at a port that shall open.
const LOOK: Duration = Duration::from_micros(500);

/// A process of ours that listens; it ends with this value.
pub struct Server {
    child: Child,
    /// From the start of the process to the first accepted connection.
    pub startup: Duration,
}

impl Server {
    /// Starts `command` and waits until `address` accepts. What it says goes to `log`.
    pub fn start(mut command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let out = fs::File::create(log)?;
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).env_clear();
        let start = Instant::now();
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut server = Self { child, startup: Duration::ZERO };
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait()?.is_some();
            if ended || start.elapsed() > START_LIMIT {
                let said = fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{command:?} does not listen on {address}:\n{said}").into());
            }
            sleep(LOOK);
        }
        server.startup = start.elapsed();
        Ok(server)
    }

    pub fn watched(&self) -> Watched {
        Watched { ids: vec![self.child.id()] }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on loopback that nobody listens on.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// What one server used, all its processes together.
#[derive(Clone)]
pub struct Watched {
    ids: Vec<u32>,
}

impl Watched {
    pub fn these(ids: Vec<u32>) -> Self {
        Self { ids }
    }

    /// The processes that listen on a port of this machine.
    pub fn listening_on(port: u16) -> Result<Self> {
        let sockets = listening_sockets(port);
        let mut ids = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Ok(files) = fs::read_dir(entry.path().join("fd")) else { continue };
            let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
            if targets.any(|target| sockets.iter().any(|one| target.as_os_str() == one.as_str())) {
                ids.push(id);
            }
        }
        if ids.is_empty() {
            return Err(format!("no process listens on port {port}: name it with --pid").into());
        }
        Ok(Self { ids })
    }

    /// CPU time used so far, in user and kernel mode.
    pub fn cpu(&self) -> Result<Duration> {
        let mut ticks = 0;
        for id in &self.ids {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            // The name in brackets may hold anything; utime and stime are fields 14 and 15.
            let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            ticks += fields
                .split_ascii_whitespace()
                // house: what is skipped are items of an iterator.
                .skip(11)
                .take(2)
                .filter_map(|one| one.parse::<u32>().ok())
                .sum::<u32>();
        }
        Ok(TICK * ticks)
    }

    /// Resident memory in KiB. `statm` is off by some pages per core; this counts.
    pub fn rss_kib(&self) -> Result<f64> {
        let mut sum = 0.0;
        for id in &self.ids {
            let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
            let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
            sum += kib.unwrap_or(0.0);
        }
        Ok(sum)
    }
}

/// `socket:[inode]` of each, as the links in `/proc/<pid>/fd` name them.
fn listening_sockets(port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let suffix = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let mut found = Vec::new();
    // house: what is skipped are items of an iterator.
    for line in tables.iter().flatten().flat_map(|table| table.lines().skip(1)) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [_, local, _, LISTENING, _, _, _, _, _, inode, ..] = fields.as_slice()
            && local.ends_with(&suffix)
        {
            found.push(format!("socket:[{inode}]"));
        }
    }
    found
}
