//! Real engines with a tiny random model: what they say is noise, everything around it is real.
//!
//! `make test-engines` builds them and runs this; the usual run has recordings instead.

mod support;

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use mediary_client::{
    TextRequest, target,
    v1::{self, FinishReason, text_event::Kind},
};
use serde_json::Value;
use support::{House, ask::question};

/// Where scripts/engines has put them.
fn home() -> PathBuf {
    PathBuf::from(env::var_os("MEDIARY_ENGINES").expect("run `make test-engines`"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server of somebody else; killed when it is dropped.
struct Engine {
    child: Child,
    url: String,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine {
    async fn start(mut command: Command, port: u16, health: &str) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let engine = Self { child, url: format!("http://127.0.0.1:{port}") };
        let begin = Instant::now();
        while get(&format!("{}{health}", engine.url)).await.is_none() {
            assert!(begin.elapsed() < Duration::from_secs(30), "the engine does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        engine
    }

    async fn llama() -> Self {
        let port = free_port();
        let mut command = Command::new(home().join("llama-server"));
        command.args(["--alias", "tiny-random", "--host", "127.0.0.1", "--port"]);
        command.arg(port.to_string()).args(["-c", "4096", "-np", "2", "--jinja", "--slots"]);
        command.arg("--no-webui").arg("-m").arg(home().join("tiny.gguf"));
        Self::start(command, port, "/health").await
    }

    /// Answers that are being made now.
    async fn busy(&self) -> usize {
        let slots = get(&format!("{}/slots", self.url)).await.expect("its slots");
        let slots: Value = serde_json::from_str(&slots).unwrap();
        let slots = slots.as_array().unwrap();
        slots.iter().filter(|slot| slot["is_processing"] == true).count()
    }

    async fn wait_until_idle(&self) -> Duration {
        let begin = Instant::now();
        while self.busy().await > 0 {
            assert!(begin.elapsed() < Duration::from_secs(5), "it goes on for nobody");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begin.elapsed()
    }
}

async fn get(url: &str) -> Option<String> {
    use http_body_util::{BodyExt as _, Empty};
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<Empty<bytes::Bytes>>();
    let response = client.get(url.parse().unwrap()).await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let body = response.into_body().collect().await.ok()?.to_bytes();
    String::from_utf8(body.to_vec()).ok()
}

/// llama.cpp's server by each of the wires that it speaks.
fn house(engine: &Engine) -> House {
    let row = |id: &str, dialect: &str, path: &str| {
        format!(
            "id = \"{id}\"\ndisplay_name = \"{id}\"\ndialect = \"{dialect}\"\nkind = \"local\"\n\
             base_uri = \"{}{path}\"\nopen_models = true\n[auth]\nscheme = \"none\"\n",
            engine.url
        )
    };
    let account = |id: &str| format!("[[accounts]]\nid = \"{id}\"\nprovider = \"{id}\"\n");
    House::plan()
        .row("providers/chat.toml", row("chat", "openai_chat", "/v1"))
        .row("providers/responses.toml", row("responses", "openai_responses", "/v1"))
        .row("providers/messages.toml", row("messages", "anthropic", ""))
        .config(&["chat", "responses", "messages"].map(account).concat())
        .start()
}

fn at_most(mut request: TextRequest, tokens: i64) -> TextRequest {
    request.parameters.max_output_tokens = Some(tokens);
    request
}

fn model(wire: &str) -> String {
    format!("providers/{wire}/models/tiny-random")
}

#[tokio::test]
async fn a_real_server_answers_over_each_of_its_wires_whole_and_streamed() {
    let engine = Engine::llama().await;
    let house = house(&engine);
    for wire in ["chat", "responses", "messages"] {
        let whole = at_most(question(&model(wire), "the cat sat on"), 24);
        let whole = house.client().generate(whole).await.unwrap();
        let usage = whole.usage.clone().unwrap();
        assert_eq!(usage.output_tokens, 24, "{wire}: {whole:?}");
        // Over Responses llama.cpp calls an answer that was cut completed.
        let cut = if wire == "responses" { FinishReason::Stop } else { FinishReason::Length };
        assert_eq!(whole.finish_reason(), cut, "{wire}");
        let streamed = at_most(question(&model(wire), "the cat sat on"), 24);
        let mut stream = house.client().stream(streamed).await.unwrap();
        let (mut deltas, mut end) = (0, None);
        while let Some(event) = stream.next().await {
            match event.unwrap().kind {
                Some(Kind::TextDelta(_)) => deltas += 1,
                Some(Kind::Finished(finished)) => end = Some(finished),
                _ => {}
            }
        }
        let end = end.unwrap_or_else(|| panic!("{wire} was not finished"));
        assert_eq!(end.finish_reason(), cut, "{wire}");
        assert_eq!(end.usage.unwrap().output_tokens, 24, "{wire}");
        assert!(deltas > 4, "{wire} came in {deltas} pieces");
        println!("{wire}: {deltas} pieces");
    }
}

#[tokio::test]
async fn a_stop_and_a_reader_that_leaves_stop_a_real_server() {
    let engine = Engine::llama().await;
    let house = house(&engine);
    for wire in ["chat", "responses", "messages"] {
        for leaves in [true, false] {
            let long = at_most(question(&model(wire), "the cat sat on"), 3_000);
            let mut stream = house.client().stream(long).await.unwrap();
            let mut name = String::new();
            loop {
                match stream.next().await.unwrap().unwrap().kind {
                    Some(Kind::Started(started)) => name = started.generation,
                    Some(Kind::TextDelta(_)) => break,
                    _ => {}
                }
            }
            assert_eq!(engine.busy().await, 1);
            if leaves {
                drop(stream);
            } else {
                house.client().stop(name).await.unwrap();
                let mut reason = None;
                while let Some(event) = stream.next().await {
                    if let Some(Kind::Finished(end)) = event.unwrap().kind {
                        reason = Some(end.finish_reason());
                    }
                }
                assert_eq!(reason, Some(FinishReason::Cancelled));
            }
            let idle = engine.wait_until_idle().await;
            println!(
                "{wire}: idle {} ms after {}",
                idle.as_millis(),
                if leaves { "its reader left" } else { "a stop" }
            );
        }
    }
}

#[tokio::test]
async fn a_real_server_says_how_it_counts_and_what_it_refuses() {
    let engine = Engine::llama().await;
    let house = house(&engine);
    let messages = question(&model("messages"), "the cat sat on").messages;
    let count = v1::CountTokensRequest {
        target: Some(target::model(model("messages"))),
        messages,
        ..Default::default()
    };
    let counted = house.client().count_tokens(count).await.unwrap();
    assert!(counted.exact && counted.input_tokens > 4, "{counted:?}");
    let endless = "the cat ".repeat(5_000);
    let refused = house.client().generate(question(&model("chat"), &endless)).await.unwrap_err();
    assert!(format!("{refused:?}").contains("CONTEXT_TOO_LONG"), "{refused:?}");
}

/// A real Ollama with the tiny model in it, which answers one call at a time.
struct Ollama {
    house: House,
    _engine: Engine,
    _folder: tempfile::TempDir,
}

impl Ollama {
    async fn start() -> Self {
        let binary = home().join("ollama");
        let port = free_port();
        let folder = tempfile::TempDir::new().unwrap();
        let host = format!("127.0.0.1:{port}");
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&binary);
            command.args(arguments).env("OLLAMA_HOST", &host).env("HOME", folder.path());
            command.env("OLLAMA_MODELS", folder.path().join("models"));
            command.env("OLLAMA_NUM_PARALLEL", "1");
            command
        };
        let engine = Engine::start(command(&["serve"]), port, "/api/version").await;
        let recipe = folder.path().join("Modelfile");
        std::fs::write(&recipe, format!("FROM {}\n", path(&home().join("tiny.gguf")))).unwrap();
        let made = command(&["create", "tiny", "-f", path(&recipe)]).status().unwrap();
        assert!(made.success());
        let house = House::plan().env("OLLAMA_HOST", engine.url.as_str()).start();
        Self { house, _engine: engine, _folder: folder }
    }

    fn question(tokens: i64) -> TextRequest {
        at_most(question("providers/ollama/models/tiny", "the cat sat on"), tokens)
    }
}

// Those of Ollama are left out by scripts/test-engines where it could not be built.

#[tokio::test]
async fn a_real_ollama_answers_on_its_own_wire_whole_and_streamed() {
    let ollama = Ollama::start().await;
    let whole = ollama.house.client().generate(Ollama::question(16)).await.unwrap();
    assert_eq!(whole.finish_reason(), FinishReason::Length, "{whole:?}");
    assert_eq!(whole.usage.unwrap().output_tokens, 16);
    let mut stream = ollama.house.client().stream(Ollama::question(16)).await.unwrap();
    let (mut deltas, mut end) = (0, None);
    while let Some(event) = stream.next().await {
        match event.unwrap().kind {
            Some(Kind::TextDelta(_)) => deltas += 1,
            Some(Kind::Finished(finished)) => end = Some(finished),
            _ => {}
        }
    }
    let usage = end.expect("it was finished").usage.unwrap();
    assert!(usage.output_tokens == 16 && usage.input_tokens > 0, "{usage:?}");
    assert!(deltas > 4, "it came in {deltas} pieces");
    println!("ollama: {deltas} pieces");
}

#[tokio::test]
async fn a_real_ollama_is_free_for_the_next_call_after_a_stop_and_after_its_reader_left() {
    let ollama = Ollama::start().await;
    for leaves in [true, false] {
        // Would keep it busy for minutes.
        let mut stream = ollama.house.client().stream(Ollama::question(4_000)).await.unwrap();
        let mut name = String::new();
        loop {
            match stream.next().await.unwrap().unwrap().kind {
                Some(Kind::Started(started)) => name = started.generation,
                Some(Kind::TextDelta(_)) => break,
                _ => {}
            }
        }
        if leaves {
            drop(stream);
        } else {
            ollama.house.client().stop(name).await.unwrap();
            let mut reason = None;
            while let Some(event) = stream.next().await {
                if let Some(Kind::Finished(end)) = event.unwrap().kind {
                    reason = Some(end.finish_reason());
                }
            }
            assert_eq!(reason, Some(FinishReason::Cancelled));
        }
        let begin = Instant::now();
        ollama.house.client().generate(Ollama::question(1)).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10), "it goes on for nobody");
        let after = if leaves { "its reader left" } else { "a stop" };
        println!("ollama: free {} ms after {after}", begin.elapsed().as_millis());
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
