//! Adds, changes and deletes the rows of models.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use mediary_proto::{
    admin::{CreateModelRequest, DeleteModelRequest, UpdateModelRequest},
    v1::ModelLifecycle,
};
use serde_json::{Value, json};

use super::{find, full_names, show};
use crate::{
    Client,
    cli::{
        draft::{ChangeArgs, Draft, FileArgs, NONE, quoted},
        feed::ConsentArgs,
        limits::Usd,
        out::{Out, Tone},
        problem::Problem,
        table::named,
    },
    client::{empty, request_id_of_its_own},
};

/// What is priced by the million; all else by the piece.
const BY_THE_MILLION: [&str; 2] = ["token", "character"];

/// Options of `models add`.
#[derive(Debug, Clone, Args)]
pub(super) struct AddArgs {
    /// Who serves it, such as groq
    provider: String,
    /// The provider's own id of it, such as meta-llama/Llama-3.3-70B; or in the file of -f
    provider_model_id: Option<String>,
    /// Id to use; without it made from the provider's own
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Only check it; nothing is added
    #[arg(long)]
    dry_run: bool,
}

/// Options of `models update`.
#[derive(Debug, Clone, Args)]
pub(super) struct UpdateArgs {
    /// Its name, id or alias
    model: String,
    /// The provider's own id of it
    #[arg(long, value_name = "ID")]
    provider_model_id: Option<String>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Options of `models delete`.
#[derive(Debug, Clone, Args)]
pub(super) struct DeleteArgs {
    /// Its name, id or alias
    model: String,
    #[command(flatten)]
    consent: ConsentArgs,
    /// Delete exactly this version
    #[arg(long)]
    etag: Option<String>,
    /// Although presets or routes name it
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Args)]
struct Settings {
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What it is, in a sentence or two
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Another id under which callers may name it, repeatable; `none` = none
    #[arg(long = "alias", value_name = "ID")]
    aliases: Vec<String>,
    /// What it can do, repeatable, as `mediary capabilities` lists it
    #[arg(long = "capability", value_name = "CAPABILITY")]
    capabilities: Vec<String>,
    /// A kind of input, repeatable: text, image, audio, video, document
    #[arg(long = "input", value_name = "KIND")]
    inputs: Vec<String>,
    /// A kind of output, repeatable: text, image, audio, video, document, voice, vector
    #[arg(long = "output-kind", value_name = "KIND")]
    outputs: Vec<String>,
    /// What it can do besides, repeatable, such as tools or vision; `none` = nothing
    #[arg(long = "feature", value_name = "FEATURE")]
    features: Vec<String>,
    /// Context window in tokens
    #[arg(long, value_name = "TOKENS")]
    context_tokens: Option<i64>,
    /// Most tokens of one answer
    #[arg(long, value_name = "TOKENS")]
    max_output_tokens: Option<i64>,
    /// A price in USD, repeatable, all anew: input-token=0.15 (a million), image=0.04 (each); `none`
    #[arg(long = "price", value_name = "UNIT=USD")]
    prices: Vec<Rate>,
    /// Whether it may still be used
    #[arg(long, value_enum)]
    lifecycle: Option<Lifecycle>,
    /// The model to use instead
    #[arg(long, value_name = "MODEL")]
    replacement: Option<String>,
    /// Whether it may be chosen
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lifecycle {
    Active,
    Deprecated,
    Retired,
}

/// What one unit costs, or that no price is known.
#[derive(Debug, Clone, PartialEq)]
enum Rate {
    None,
    Of { unit: String, micro_usd: i64 },
}

pub(super) async fn add(client: &Client, out: &Out, args: AddArgs) -> Result<(), Problem> {
    let mut draft = args.settings.draft(client).await?;
    draft.maybe("provider_model_id", "PROVIDER_MODEL_ID", args.provider_model_id);
    let (model, sent) = draft.finish()?;
    let request = CreateModelRequest {
        parent: named("providers", &args.provider),
        model: Some(model),
        model_id: args.id.unwrap_or_default(),
        request_id: request_id_of_its_own(),
        validate_only: args.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.catalog().create_model(request).await);
    let sent = sent
        .would_set("provider_model_id", "PROVIDER_MODEL_ID")
        .would_set("capabilities", "--capability")
        .would_set("input_kinds", "--input")
        .would_set("output_kinds", "--output-kind");
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.model.ok_or_else(|| empty("model"))?)?;
    remark(out, args.dry_run);
    Ok(())
}

pub(super) async fn update(client: &Client, out: &Out, args: UpdateArgs) -> Result<(), Problem> {
    let mut draft = args.settings.draft(client).await?;
    draft.maybe("provider_model_id", "--provider-model-id", args.provider_model_id);
    let name = find(client, &args.model).await?.name;
    let (model, mask, sent) = draft.change(name, &args.change)?;
    let request = UpdateModelRequest {
        model: Some(model),
        update_mask: Some(mask),
        request_id: request_id_of_its_own(),
        validate_only: args.change.dry_run,
        ..Default::default()
    };
    let reply =
        client.call(request, async |raw, request| raw.catalog().update_model(request).await);
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.model.ok_or_else(|| empty("model"))?)?;
    remark(out, args.change.dry_run);
    Ok(())
}

pub(super) async fn delete(client: &Client, out: &Out, args: DeleteArgs) -> Result<(), Problem> {
    let name = find(client, &args.model).await?.name;
    args.consent.ask(&format!("delete {name}"))?;
    let request = DeleteModelRequest {
        name: name.clone(),
        etag: quoted(&args.etag.unwrap_or_default()),
        force: args.force,
        request_id: request_id_of_its_own(),
        ..Default::default()
    };
    client.call(request, async |raw, request| raw.catalog().delete_model(request).await).await?;
    out.note(Tone::Aside, &format!("{name} is deleted"));
    Ok(())
}

fn remark(out: &Out, dry_run: bool) {
    if dry_run {
        out.note(Tone::Aside, "only checked: nothing is changed");
    }
}

impl Settings {
    async fn draft(&self, client: &Client) -> Result<Draft, Problem> {
        let mut draft = Draft::new("model", &self.file)?;
        draft.text("display_name", "--name", self.name.as_deref());
        draft.text("description", "--description", self.description.as_deref());
        draft.list("aliases", "--alias", &self.aliases);
        draft.list("capabilities", "--capability", &self.capabilities);
        draft.list("input_kinds", "--input", &self.inputs);
        draft.list("output_kinds", "--output-kind", &self.outputs);
        draft.list("features", "--feature", &self.features);
        draft.maybe("context_tokens", "--context-tokens", self.context_tokens);
        draft.maybe("max_output_tokens", "--max-output-tokens", self.max_output_tokens);
        match self.prices.as_slice() {
            [] => {}
            [Rate::None] => draft.set("prices", "--price", Value::Null),
            all => {
                let all: Vec<Value> = all.iter().filter_map(Rate::wire).collect();
                draft.set("prices", "--price", all);
            }
        }
        let lifecycle = self.lifecycle.map(|one| one.wire().as_str_name());
        draft.maybe("lifecycle", "--lifecycle", lifecycle);
        if let Some(replacement) = &self.replacement {
            let full = full_names(client, std::slice::from_ref(replacement)).await?;
            draft.text("replacement", "--replacement", full.first().map(String::as_str));
        }
        draft.maybe("enabled", "--enabled", self.enabled);
        Ok(draft)
    }
}

impl Lifecycle {
    fn wire(self) -> ModelLifecycle {
        match self {
            Self::Active => ModelLifecycle::Active,
            Self::Deprecated => ModelLifecycle::Deprecated,
            Self::Retired => ModelLifecycle::Retired,
        }
    }
}

impl Rate {
    fn wire(&self) -> Option<Value> {
        let Self::Of { unit, micro_usd } = self else { return None };
        let rate = match BY_THE_MILLION.iter().any(|one| unit.ends_with(one)) {
            true => "micro_usd_per_million",
            false => "micro_usd_per_unit",
        };
        Some(json!({ "unit": unit, rate: micro_usd }))
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NONE {
            return Ok(Self::None);
        }
        let wrong = "must be UNIT=USD such as input-token=0.15, or none";
        let (unit, usd) = text.split_once('=').ok_or(wrong)?;
        let Usd(Some(pico)) = usd.parse().map_err(|_| wrong)? else { return Err(wrong) };
        match pico % 1_000_000 {
            0 if !unit.is_empty() => {
                Ok(Self::Of { unit: unit.to_owned(), micro_usd: pico / 1_000_000 })
            }
            0 => Err(wrong),
            _ => Err("must have at most six digits after the point"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_priced_by_the_million_and_images_each() {
        let wire = |text: &str| text.parse::<Rate>().expect(text).wire();
        let tokens = json!({ "unit": "input-token", "micro_usd_per_million": 150_000 });
        assert_eq!(wire("input-token=0.15"), Some(tokens));
        let image = json!({ "unit": "image", "micro_usd_per_unit": 40_000 });
        assert_eq!(wire("image=0.04"), Some(image));
        assert_eq!("none".parse(), Ok(Rate::None));
        for wrong in ["input-token", "=1", "image=none", "image=0.0000001", "image=-1"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
