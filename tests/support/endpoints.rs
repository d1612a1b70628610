//! Plays a recorded exchange that is no chat: vectors, the list of models, the count of a question.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use mediary_client::v1;
use serde_json::Value;

use super::{
    House, Reply, Vendor,
    admin::{refresh, test_account},
    recordings::Case,
    replay::{self, provider_of},
};

/// Providers whose wires list models and count tokens here; the others have rows of their own.
const COUNTING: [&str; 3] = ["anthropic", "gemini", "openai"];
/// Wires with embeddings and a list of models.
const WIRES: [&str; 4] = ["openai", "ollama", "gemini", "cohere"];
const KEY: &str = "key-of-the-test";

/// Whether the case is of an endpoint that is built beside the chats.
pub fn is_supported(case: &Case) -> bool {
    match case.operation.as_str() {
        "embed" => case.protocol.strip_prefix("embeddings-").is_some_and(|it| WIRES.contains(&it)),
        "models" => case.protocol.strip_prefix("models-").is_some_and(|it| WIRES.contains(&it)),
        "count_tokens" => COUNTING.contains(&case.provider.as_str()),
        _ => false,
    }
}

/// A server whose providers are all played by one vendor, with a row for every model that the cases
/// speak of.
pub struct Desk {
    house: House,
    vendor: Vendor,
}

impl Desk {
    pub async fn new(cases: &[Case]) -> Self {
        let vendor = Vendor::start().await;
        let mut models: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for case in cases {
            models.entry(place(case)).or_default().insert(replay::asked_model(case));
        }
        let (mut plan, mut accounts) =
            (House::plan().env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false"), String::new());
        for (provider, ids) in models {
            accounts.push_str(&account(&vendor, &provider));
            let rows: String = ids.iter().map(|id| row(id)).collect();
            plan = plan.row(&format!("models/{provider}.toml"), rows);
        }
        let house = plan.config(&format!("accounts = [{accounts}]")).env("KEY", KEY).start();
        Self { house, vendor }
    }

    /// Plays a case once in pieces of `piece` bytes, and says what is not as recorded.
    pub async fn play(&self, case: &Case, piece: usize) -> Vec<String> {
        self.vendor.replies([replay::reply(case, piece)]);
        match case.operation.as_str() {
            "embed" => self.embed(case).await,
            "models" => self.models(case, piece).await,
            _ => self.count(case).await,
        }
    }

    async fn embed(&self, case: &Case) -> Vec<String> {
        let recorded = Asked::of(&case.request.body);
        let request = v1::EmbedTextRequest {
            target: Some(mediary_client::target::model(target(case))),
            texts: recorded.texts.clone(),
            dimensions: recorded.length.and_then(|length| i32::try_from(length).ok()),
            purpose: recorded.purpose.clone(),
            ..Default::default()
        };
        let answer = match self.house.client().embed(request).await {
            Err(failure) => return replay::differs(case, &failure),
            Ok(answer) => answer,
        };
        let mut wrong = Vec::new();
        let mut differ = |what: &str, is: Option<i64>| {
            if let Some(should) = case.number_fact(what)
                && is != Some(should)
            {
                wrong.push(format!("{what}: {is:?}, recorded {should}"));
            }
        };
        let number = |count: usize| i64::try_from(count).ok();
        differ("vectors", number(answer.embeddings.len()));
        differ("dimensions", answer.embeddings.first().and_then(|one| number(one.values.len())));
        let usage = answer.usage.unwrap_or_default();
        let counts = ["input_tokens", "billed_input_tokens"];
        for count in counts {
            differ(count, Some(usage.input_tokens));
        }
        let is_counted = counts.iter().any(|count| case.fact(count).is_some());
        if !is_counted && usage.source() == v1::UsageSource::Reported {
            wrong.push(format!("usage is made up: {usage:?}"));
        }
        let asked = self.vendor.last_asked();
        let sent = Asked::of(&asked.json());
        if sent != recorded {
            wrong.push(format!("request: sent {sent:?}, recorded {recorded:?}"));
        }
        let method = case.request.path.rsplit_once(':').map_or("", |(_, method)| method);
        if !asked.path.ends_with(method) {
            wrong.push(format!("request: path is {}", asked.path));
        }
        wrong
    }

    /// The count is told by a test of the account; the models by what a refresh makes of them.
    async fn models(&self, case: &Case, piece: usize) -> Vec<String> {
        self.vendor.always(match case.provider.as_str() {
            // Ollama is asked about each model as well, and knows none of them.
            "ollama" => Reply::json(404, r#"{"error":"model not found"}"#),
            // The pages after the recorded one hold nothing.
            _ => Reply::json(200, r#"{"models":[]}"#),
        });
        let provider = place(case);
        let found = match test_account(&self.house, &format!("{provider}-test")).await {
            Err(status) => return vec![format!("failed: {status}")],
            Ok(found) => found,
        };
        let mut wrong = Vec::new();
        if !found.accepted || case.number_fact("model_count") != found.models_listed.map(i64::from)
        {
            wrong.push(format!("{found:?}, recorded {:?}", case.fact("model_count")));
        }
        self.vendor.replies([replay::reply(case, piece)]);
        let parent = format!("providers/{provider}");
        for refreshed in refresh(&self.house, &parent).await {
            wrong.extend(refreshed.error.map(|error| error.message));
        }
        let request = v1::ListModelsRequest { parent, page_size: 1_000, ..Default::default() };
        let known: Vec<_> = self.house.client().list_models(request).try_collect().await.unwrap();
        // Models that a list shows to do nothing of ours are left out. Whatever is a model lies in
        // Google's folder of that name.
        let all = found.models_listed.is_some_and(|listed| listed as usize <= known.len());
        let first = case.text_fact("first_model").map(|id| id.trim_start_matches("models/"));
        if let Some(first) = first
            && all
            && !known.iter().any(|model| {
                model.provider_model_id == first || model.aliases.iter().any(|one| one == first)
            })
        {
            wrong.push(format!("{first} is not known"));
        }
        let pages = self.vendor.asked();
        if let Some(token) = case.text_fact("next_page_token")
            && !pages.last().is_some_and(|page| page.path.ends_with(token))
        {
            wrong.push(format!("the page {token} was not asked for"));
        }
        wrong
    }

    async fn count(&self, case: &Case) -> Vec<String> {
        let request = v1::CountTokensRequest {
            target: Some(mediary_client::target::model(target(case))),
            messages: vec![mediary_client::message::user("hello")],
            ..Default::default()
        };
        let counted = match self.house.client().count_tokens(request).await {
            Err(failure) => return replay::differs(case, &failure),
            Ok(counted) => counted,
        };
        let body: Value = serde_json::from_slice(&case.body()).unwrap();
        let should = body["input_tokens"].as_i64().or(body["totalTokens"].as_i64());
        if counted.exact && Some(counted.input_tokens) == should {
            return Vec::new();
        }
        vec![format!("{counted:?}, recorded {should:?}")]
    }
}

/// What a question for vectors says, in the words of any wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub texts: Vec<String>,
    pub length: Option<i64>,
    pub purpose: String,
}

impl Asked {
    pub fn of(body: &Value) -> Self {
        let all = [&body["input"], &body["texts"], &body["prompt"]];
        let texts = match (all.into_iter().find(|one| !one.is_null()), &body["requests"]) {
            (Some(Value::Array(texts)), _) => texts.iter().map(text).collect(),
            (Some(one), _) => vec![text(one)],
            (None, Value::Array(requests)) => {
                requests.iter().map(|one| text(&one["content"]["parts"][0]["text"])).collect()
            }
            _ => vec!["hello".to_owned()],
        };
        let first = &body["requests"][0];
        let lengths =
            [&body["dimensions"], &body["output_dimension"], &first["outputDimensionality"]];
        Self {
            texts,
            length: lengths.into_iter().find_map(Value::as_i64),
            purpose: text(if first.is_null() { &body["input_type"] } else { &first["taskType"] }),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The row that serves a case: no address of Azure's is special here.
fn place(case: &Case) -> String {
    if case.provider == "azure" { "azure".to_owned() } else { provider_of(case) }
}

fn account(vendor: &Vendor, provider: &str) -> String {
    format!(
        "{{ id = \"{provider}-test\", provider = \"{provider}\", api_key = \"env:KEY\", \
         base_uri = \"{}/base\" }},",
        vendor.url()
    )
}

fn slug(model: &str) -> String {
    let name: String = model
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(48)
        .collect();
    format!("m-{}", name.trim_matches('-'))
}

fn target(case: &Case) -> String {
    format!("providers/{}/models/{}", place(case), slug(&replay::asked_model(case)))
}

fn row(model: &str) -> String {
    format!(
        "[[models]]\nid = {:?}\nprovider_model_id = {model:?}\n\
         capabilities = [\"text-embedding\", \"text-to-text\"]\ninput_kinds = [\"text\"]\n\
         output_kinds = [\"vector\", \"text\"]\nfeatures = [\"dimensions\", \"purpose\", \"streaming\"]\n",
        slug(model)
    )
}
