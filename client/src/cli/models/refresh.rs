//! `models refresh`: what the providers' own lists change.

use clap::Args;
use mediary_proto::admin::{ModelRefresh, RefreshModelsRequest};

use crate::{
    Client,
    cli::{
        global::Output,
        json,
        out::{Out, Tone},
        problem::Problem,
        table::{csv, id, named, table},
    },
    client::request_id_of_its_own,
};

/// Options of `models refresh`.
#[derive(Debug, Clone, Args)]
pub(super) struct RefreshArgs {
    /// Whose list to read; without it those of all that are configured and have one
    provider: Option<String>,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
}

/// What became of a model, with the word for it.
type Changed<'a> = (&'static str, &'a String);

pub(super) async fn run(client: &Client, out: &Out, args: RefreshArgs) -> Result<(), Problem> {
    let request = RefreshModelsRequest {
        parent: named("providers", args.provider.as_deref().unwrap_or("-")),
        request_id: request_id_of_its_own(),
        validate_only: args.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.catalog().refresh_models(request).await);
    let refreshes: Vec<_> = reply.await?.refreshes.into_iter().map(plain).collect();
    show(out, &refreshes)?;
    if args.dry_run {
        out.note(Tone::Aside, "only checked: nothing is changed");
    }
    let failed: Vec<_> = refreshes.iter().filter_map(failure).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Problem::Finding {
        message: failed.join("\n"),
        fix: "`mediary accounts test ACCOUNT` tells whether a provider takes a key".to_owned(),
    })
}

fn show(out: &Out, refreshes: &[ModelRefresh]) -> Result<(), Problem> {
    let all = || refreshes.iter().flat_map(changed);
    match out.form {
        Output::Json => out.json(&serde_json::json!({ "refreshes": json::list(refreshes) })),
        Output::Jsonl => refreshes.iter().try_for_each(|one| out.json(&json::message(one))),
        Output::Id => all().try_for_each(|(_, name)| out.line(name)),
        Output::Csv | Output::Table => {
            if out.form == Output::Table && all().next().is_none() {
                out.note(Tone::Aside, "the lists hold nothing new");
                return Ok(());
            }
            let rows = refreshes.iter().flat_map(|one| {
                let row = move |(word, name): Changed<'_>| {
                    vec![id(&one.provider).to_owned(), id(name).to_owned(), word.to_owned()]
                };
                changed(one).map(row)
            });
            if out.form == Output::Csv {
                return out.text(&csv(["provider", "model", "change"], rows)?);
            }
            out.line(&table(out, &["PROVIDER", "MODEL", "CHANGE"], rows))
        }
    }
}

fn changed(refresh: &ModelRefresh) -> impl Iterator<Item = Changed<'_>> {
    let all = [
        ("added", &refresh.added_models),
        ("updated", &refresh.updated_models),
        ("retired", &refresh.retired_models),
    ];
    all.into_iter().flat_map(|(word, names)| names.iter().map(move |name| (word, name)))
}

fn failure(refresh: &ModelRefresh) -> Option<String> {
    let error = refresh.error.as_ref()?;
    Some(format!("{}: {}", refresh.provider, error.message))
}

/// Without the details of its failure, which are binary.
fn plain(mut refresh: ModelRefresh) -> ModelRefresh {
    if let Some(error) = &mut refresh.error {
        error.details.clear();
    }
    refresh
}
