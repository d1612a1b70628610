//! `resolve`: who would serve a target, in which order, and why others would not.

use clap::Args;
use mediary_proto::v1;

use super::{
    global::Output,
    json,
    limits::usd,
    out::{Out, Tone},
    problem::Problem,
    show::{self, Columns, Listed},
};
use crate::{Client, target};

const COLUMNS: Columns<v1::TargetCandidate> = Columns {
    list: "candidates",
    header: &["MODEL", "ACCOUNT", "TRIED", "WHY", "COST"],
    row: |one| {
        let why = if one.detail.is_empty() { one.reason.clone() } else { one.detail.clone() };
        vec![
            one.model.clone(),
            one.account_hint.clone(),
            if one.usable { "yes" } else { "no" }.to_owned(),
            why,
            one.estimated_cost_pico_usd.map(usd).unwrap_or_default(),
        ]
    },
    id: |one| &one.model,
};

/// Options of `resolve`.
#[derive(Debug, Clone, Args)]
pub struct ResolveArgs {
    /// A model
    #[arg(short, long, value_name = "MODEL", conflicts_with_all = ["preset", "task"])]
    model: Option<String>,
    /// A preset
    #[arg(long, value_name = "PRESET", conflicts_with = "task")]
    preset: Option<String>,
    /// A task, as `mediary routes` lists them
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// What shall be done; without it what the target tells, else text-to-text
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
    /// Tokens that go in, to estimate the cost
    #[arg(long, value_name = "TOKENS")]
    input_tokens: Option<i64>,
    /// Tokens that come out, to estimate the cost
    #[arg(long, value_name = "TOKENS")]
    output_tokens: Option<i64>,
}

/// `resolve`
pub(super) async fn run(client: &Client, out: &Out, args: ResolveArgs) -> Result<(), Problem> {
    let request = args.request();
    let reply =
        client.call(request, async |raw, request| raw.models().resolve_target(request).await);
    let found = reply.await?;
    for warning in &found.warnings {
        out.note(Tone::Warning, &format!("warning: {}", warning.detail));
    }
    let usable = found.candidates.iter().any(|one| one.usable);
    if out.form == Output::Id {
        // Programs want those that can be asked.
        let mut tried = found.candidates.iter().filter(|one| one.usable);
        tried.try_for_each(|one| out.line(&one.model))?;
    } else if out.is_json() {
        out.json(&json::message(&found))?;
    } else {
        show::list(out, &COLUMNS, &Listed { items: found.candidates, more: false })?;
    }
    if usable {
        return Ok(());
    }
    Err(Problem::Finding {
        message: format!("nobody can be asked for {}", found.capability),
        fix: "`mediary doctor` says what each provider and account lacks".to_owned(),
    })
}

impl ResolveArgs {
    fn request(&self) -> v1::ResolveTargetRequest {
        let named = match (&self.model, &self.preset, &self.task) {
            (Some(name), ..) => Some(target::model(name)),
            (_, Some(name), _) => Some(target::preset(name)),
            (_, _, Some(task)) => Some(target::route(task)),
            _ => None,
        };
        let capability = match (&self.capability, &named) {
            (Some(capability), _) => capability.clone(),
            (None, None) => "text-to-text".to_owned(),
            (None, Some(_)) => String::new(),
        };
        let counts = self.input_tokens.is_some() || self.output_tokens.is_some();
        let expected_usage = counts.then(|| v1::TokenUsage {
            input_tokens: self.input_tokens.unwrap_or_default(),
            output_tokens: self.output_tokens.unwrap_or_default(),
            ..Default::default()
        });
        v1::ResolveTargetRequest { target: named, capability, expected_usage, ..Default::default() }
    }
}
