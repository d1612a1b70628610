//! What several tests need: rows, a look at the file past the store, a second process.

#![expect(dead_code, reason = "each test uses a part of it")]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mediary_store::{
    Account, AccountState, AuditEvent, Change, Request, RequestKey, Secret, Stamp,
};
use mediary_store_sqlite::{Settings, SqliteStore};
use sqlx::{Connection as _, SqliteConnection};

/// Tells a helper what to do; in its absence it is an ordinary test with nothing to do.
const TASK: &str = "MEDIARY_STORE_HELPER";

pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

pub fn account(id: &str) -> Account {
    Account {
        id: id.into(),
        provider: "openai".into(),
        display_name: "Team".into(),
        secret: Secret::None,
        key_hint: String::new(),
        key_fingerprint: String::new(),
        state: AccountState::Active,
        origin: "manual".into(),
        settings_json: "{}".into(),
        stamp: Stamp::default(),
    }
}

/// A change with everything that can go with it.
pub fn change(id: &str) -> Change {
    let event = AuditEvent {
        id: id.into(),
        at: now(),
        actor: "ann".into(),
        api_key: String::new(),
        method: "Create".into(),
        resource: format!("accounts/{id}"),
        before_hash: None,
        after_hash: Some([7; 32]),
        outcome: "OK".into(),
        reason: String::new(),
        peer_address: String::new(),
        request_id: id.into(),
        changed_fields: Vec::new(),
    };
    let key = RequestKey { owner: "ann".into(), method: "Create".into(), request_id: id.into() };
    let request = Request {
        key,
        payload_hash: [1; 32],
        resource: event.resource.clone(),
        window: Duration::from_secs(86_400),
    };
    Change::at(now()).repeatable(request).audited(event)
}

pub async fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(Settings::new(directory)).await.expect("a store")
}

/// The file as it is, past the store.
pub async fn raw(directory: &Path) -> SqliteConnection {
    let address = format!("sqlite:{}", directory.join("mediary.db").display());
    SqliteConnection::connect(&address).await.expect("the file")
}

/// Looks whether the file is sound and every unit in it whole. Tells the ids of the accounts.
pub async fn whole(directory: &Path) -> Vec<String> {
    let mut raw = raw(directory).await;
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut raw).await.expect("a check");
    assert_eq!(check, "ok");
    let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM accounts ORDER BY id")
        .fetch_all(&mut raw)
        .await
        .expect("accounts");
    for statement in
        ["SELECT id FROM audit ORDER BY id", "SELECT request_id FROM requests ORDER BY request_id"]
    {
        let other: Vec<String> =
            sqlx::query_scalar(statement).fetch_all(&mut raw).await.expect("ids");
        assert!(ids == other, "accounts and {statement} differ");
    }
    let version: i64 =
        sqlx::query_scalar("SELECT version FROM registry").fetch_one(&mut raw).await.expect("one");
    assert_eq!(version, ids.len() as i64);
    raw.close().await.expect("closed");
    ids
}

/// A test of this file that runs as a process of its own, and what it says.
pub struct Helper {
    process: Child,
    said: Option<BufReader<ChildStdout>>,
}

impl Helper {
    /// Starts the test `name` with its task.
    pub fn start(name: &str, task: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .args(["--exact", name, "--nocapture"])
            .env(TASK, task)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let said = process.stdout.take().map(BufReader::new);
        Self { process, said }
    }

    /// The process that it is.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it says this word.
    pub fn wait_for(&mut self, word: &str) {
        let said = self.said.as_mut().expect("an output");
        let found = said.lines().map_while(Result::ok).any(|line| line == word);
        assert!(found, "the helper never said {word}");
    }

    /// Ends it with SIGKILL some time after `since`. The words that it said after `prefix`.
    pub fn killed(mut self, since: Since, wait: Duration, prefix: &str) -> Vec<String> {
        let said = self.said.take().expect("an output");
        let prefix = prefix.to_owned();
        let (first, heard_first) = mpsc::channel();
        let listening = std::thread::spawn(move || {
            let lines = said.lines().map_while(Result::ok);
            let words = lines.filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned));
            let words = words.inspect(|_| {
                let _ = first.send(());
            });
            words.collect()
        });
        if since == Since::ItsFirstWord {
            heard_first.recv().expect("a word");
        }
        std::thread::sleep(wait);
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
        listening.join().expect("heard")
    }
}

/// What a helper's last moments are counted from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Since {
    ItsStart,
    ItsFirstWord,
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What this process was started for, if it is a helper.
#[expect(clippy::disallowed_methods, reason = "how a test tells its helper what to do")]
pub fn task() -> Option<String> {
    std::env::var(TASK).ok()
}

/// Says a word to who started this process, on a line of its own.
pub fn say(word: &str) {
    use std::io::Write as _;
    let line = format!("\n{word}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("said");
}
