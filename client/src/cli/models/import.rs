//! `models import-prices`: takes over the community's price map, LiteLLM's
//! `model_prices_and_context_window.json`.
//!
//! Owns: going through the map and telling what became of each entry. Leaves: what an entry says
//! (`entry`), what of it is new (`change`).

mod change;
mod decimal;
mod entry;

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use futures::TryStreamExt as _;
use mediary_proto::{admin, v1};
use prost_types::Timestamp;
use serde_json::json;

use self::{
    change::{Change, Terms},
    entry::Entry,
};
use super::{all, provider_of};
use crate::{
    Client, Error,
    cli::{
        feed,
        global::Output,
        out::{Out, Tone},
        problem::Problem,
        show::WHOLE_PAGE,
        table::{id, table},
        when::{self, When},
    },
    client::request_id_of_its_own,
};

/// Largest map that is read; the true one has 2 MiB.
const MAP_LIMIT: u64 = 64 << 20;
const DAY: i64 = 24 * 60 * 60;

/// Options of `models import-prices`.
#[derive(Debug, Clone, Args)]
pub(super) struct ImportArgs {
    /// The map, LiteLLM's model_prices_and_context_window.json; - = stdin
    file: PathBuf,
    /// Only models of this provider, repeatable
    #[arg(long = "provider", value_name = "PROVIDER")]
    providers: Vec<String>,
    /// From when the prices hold, such as 2027-01-31; without it from today on
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// Also replace what rows of the catalog, or rows that somebody wrote, say of themselves
    #[arg(long)]
    overwrite: bool,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
}

/// What became of an entry.
struct Line {
    key: String,
    /// Resource name of the model; empty = there is none.
    model: String,
    word: Word,
    why: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Taken,
    Changed,
    Unchanged,
    Kept,
    NotSupported,
    Refused,
}

/// What the server has.
struct Known {
    /// By the id of their provider and their own id there.
    models: BTreeMap<(String, String), v1::Model>,
    providers: Vec<String>,
}

pub(super) async fn run(client: &Client, out: &Out, args: ImportArgs) -> Result<(), Problem> {
    let (name, text) = feed::file_or_stdin(&args.file, MAP_LIMIT)?;
    let entries = entry::read(&text)
        .map_err(|problem| Problem::Usage(format!("{name} is no price map: {problem}")))?;
    let known = Known::read(client).await?;
    let terms = Terms { from: args.begin(), overwrite: args.overwrite };
    let wanted: Vec<&str> = args.providers.iter().map(|one| id(one)).collect();
    let mut lines = Vec::new();
    let mut met = BTreeMap::new();
    for (key, json) in entries {
        let entry = entry::describe(&key, &json, &known.providers);
        let is_wanted = |entry: &Result<Entry, String>| match entry {
            Ok(entry) => wanted.contains(&entry.provider.as_str()),
            Err(_) => false,
        };
        if !wanted.is_empty() && !is_wanted(&entry) {
            continue;
        }
        lines.push(match entry {
            Err(why) => Line::not_supported(key, why),
            Ok(entry) => match met.insert(entry.place(), key.clone()) {
                Some(first) => {
                    let why = format!("the same model as {first}");
                    Line::not_supported(key, why)
                }
                None => take(client, key, &entry, &known, &terms, args.dry_run).await?,
            },
        });
    }
    show(out, &lines)?;
    sum_up(out, &lines, args.dry_run);
    let refused = lines.iter().filter(|line| line.word == Word::Refused).count();
    if refused == 0 {
        return Ok(());
    }
    Err(Problem::Finding {
        message: format!("the server refused {refused} of {} entries", lines.len()),
        fix: "`mediary models add` with an --id of your own adds such a model".to_owned(),
    })
}

async fn take(
    client: &Client,
    key: String,
    entry: &Entry,
    known: &Known,
    terms: &Terms,
    dry_run: bool,
) -> Result<Line, Problem> {
    let model = known.models.get(&entry.place());
    let change = match model {
        None => change::of_new(entry, terms),
        Some(model) => change::of_known(entry, model, terms),
    };
    let name = model.map(|model| model.name.clone()).unwrap_or_default();
    let (word, sent) = match change {
        Change::New(model) => (Word::Taken, create(client, entry, *model, dry_run).await),
        Change::Fields(model, mask) => (Word::Changed, update(client, *model, mask, dry_run).await),
        Change::None => (Word::Unchanged, Ok(name.clone())),
        Change::Kept(why) => {
            return Ok(Line { key, model: name, word: Word::Kept, why: why.to_owned() });
        }
        Change::NotSupported(why) => return Ok(Line::not_supported(key, why)),
    };
    match sent {
        Ok(model) => Ok(Line { key, model, word, why: entry.remarks.join("; ") }),
        Err(error) if is_of_the_entry(&error) => {
            Ok(Line { key, model: name, word: Word::Refused, why: error.message().to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

async fn create(
    client: &Client,
    entry: &Entry,
    model: v1::Model,
    validate_only: bool,
) -> Result<String, Error> {
    let request = admin::CreateModelRequest {
        parent: format!("providers/{}", entry.provider),
        model: Some(model),
        request_id: request_id_of_its_own(),
        validate_only,
        ..Default::default()
    };
    let reply =
        client.call(request, async |raw, request| raw.catalog().create_model(request).await);
    Ok(reply.await?.model.map(|model| model.name).unwrap_or_default())
}

async fn update(
    client: &Client,
    model: v1::Model,
    mask: Vec<&'static str>,
    validate_only: bool,
) -> Result<String, Error> {
    let name = model.name.clone();
    let request = admin::UpdateModelRequest {
        model: Some(model),
        update_mask: Some(prost_types::FieldMask {
            paths: mask.into_iter().map(str::to_owned).collect(),
        }),
        request_id: request_id_of_its_own(),
        validate_only,
        ..Default::default()
    };
    client.call(request, async |raw, request| raw.catalog().update_model(request).await).await?;
    Ok(name)
}

/// Whether the entry is to blame, and not the server or the caller.
fn is_of_the_entry(error: &Error) -> bool {
    use tonic::Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
    matches!(
        error.status(),
        Aborted | AlreadyExists | FailedPrecondition | InvalidArgument | NotFound
    )
}

fn show(out: &Out, lines: &[Line]) -> Result<(), Problem> {
    let object = |line: &Line| {
        json!({ "entry": line.key, "model": line.model, "outcome": line.word.as_str(),
                "reason": line.why })
    };
    match out.form {
        Output::Json => {
            out.json(&json!({ "entries": lines.iter().map(object).collect::<Vec<_>>() }))
        }
        Output::Jsonl => lines.iter().try_for_each(|line| out.json(&object(line))),
        Output::Id => {
            let is_news = |line: &&Line| matches!(line.word, Word::Taken | Word::Changed);
            lines.iter().filter(is_news).try_for_each(|line| out.line(&line.model))
        }
        Output::Table => {
            let rows = lines.iter().map(|line| {
                let at = match line.model.as_str() {
                    "" => String::new(),
                    name => format!("{}/{}", provider_of(name), id(name)),
                };
                vec![line.key.clone(), line.word.as_str().to_owned(), at, line.why.clone()]
            });
            out.line(&table(out, &["ENTRY", "OUTCOME", "MODEL", "REASON"], rows))
        }
    }
}

fn sum_up(out: &Out, lines: &[Line], dry_run: bool) {
    let counts = Word::ALL.into_iter().filter_map(|word| {
        let count = lines.iter().filter(|line| line.word == word).count();
        (count > 0).then(|| format!("{count} {}", word.as_str()))
    });
    let counts = counts.collect::<Vec<_>>().join(", ");
    let end = if dry_run { "; only checked: nothing is changed" } else { "" };
    out.note(Tone::Aside, &format!("{counts}{end}"));
}

impl ImportArgs {
    /// From when the prices hold: the day, so that prices of one day are one price. None = always.
    fn begin(&self) -> Option<Timestamp> {
        match self.from {
            Some(from) => from.time(),
            None => {
                let now = Timestamp::from(when::now());
                Some(Timestamp { seconds: now.seconds - now.seconds.rem_euclid(DAY), nanos: 0 })
            }
        }
    }
}

impl Known {
    async fn read(client: &Client) -> Result<Self, Problem> {
        let own_id = |model: v1::Model| {
            let provider = provider_of(&model.name).to_owned();
            ((provider, model.provider_model_id.clone()), model)
        };
        // Of several that are the same there, the first by name.
        let models = all(client).await?.into_iter().rev().map(own_id).collect();
        let request = v1::ListProvidersRequest { page_size: WHOLE_PAGE, ..Default::default() };
        let providers: Vec<v1::Provider> = client.list_providers(request).try_collect().await?;
        let providers = providers.iter().map(|one| id(&one.name).to_owned()).collect();
        Ok(Self { models, providers })
    }
}

impl Line {
    fn not_supported(key: String, why: String) -> Self {
        Self { key, model: String::new(), word: Word::NotSupported, why }
    }
}

impl Word {
    const ALL: [Self; 6] = [
        Self::Taken,
        Self::Changed,
        Self::Unchanged,
        Self::Kept,
        Self::NotSupported,
        Self::Refused,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Kept => "kept",
            Self::NotSupported => "not supported",
            Self::Refused => "refused",
        }
    }
}
