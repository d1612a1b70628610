//! `presets`: groups of models that serve one capability together.

use clap::{Args, Subcommand, ValueEnum};
use mediary_proto::admin::{
    CreatePresetRequest, DeletePresetRequest, EnsembleMode, GetPresetRequest, ListPresetsRequest,
    Preset, PresetMember, PresetStrategy, RestoreDefaultPresetsRequest, UpdatePresetRequest,
};
use serde_json::{Value, json};

use super::{
    draft::{ChangeArgs, Draft, FileArgs, bare, quoted},
    feed::ConsentArgs,
    out::{Out, Tone},
    problem::Problem,
    show::{self, Columns, ListArgs},
    table::{id, named},
    when::time,
};
use crate::{
    Client,
    client::{empty, request_id_of_its_own},
};

const COLLECTION: &str = "presets";
const COLUMNS: Columns<Preset> = Columns {
    list: "presets",
    header: &["PRESET", "CAPABILITY", "STRATEGY", "PRIORITY", "MEMBERS", "FROM"],
    row,
    id: |preset| id(&preset.name),
};

/// What to do with presets.
#[derive(Debug, Clone, Subcommand)]
pub enum PresetsCommand {
    /// List presets
    List(ListArgs),
    /// Show one, with how its calls went and what it has learned
    Show {
        /// The preset, such as text-simple
        preset: String,
    },
    /// Add one: presets create mine --strategy weighted --member gpt-x=3 --member claude-y
    Create(Box<CreateArgs>),
    /// Change one
    Update(Box<UpdateArgs>),
    /// Delete one; a built-in one stays deleted until `restore`
    Delete(DeleteArgs),
    /// Bring back the presets that a new server has
    Restore(RestoreArgs),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StrategyArg {
    Sequential,
    Weighted,
    Ensemble,
    Adaptive,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    First,
    Best,
    Merge,
}

/// What a preset is made of.
#[derive(Debug, Clone, Args)]
struct Fields {
    /// How its members are used
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<StrategyArg>,
    /// A model in it, in order, repeatable; MODEL=WEIGHT gives it a weight
    #[arg(short, long = "member", value_name = "MODEL")]
    members: Vec<String>,
    /// How an ensemble finds its answer
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeArg>,
    /// The model that judges the answers of an ensemble
    #[arg(long, value_name = "MODEL")]
    judge: Option<String>,
    /// How many members of an ensemble must answer before the judge begins
    #[arg(long, value_name = "COUNT")]
    quorum: Option<i32>,
    /// Higher ones are preferred where nobody names a preset; below 0 = never then
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Whether it may be chosen
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

/// Options of `presets create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Its id; without one the server makes it
    preset: Option<String>,
    /// What it is for; without it text-to-text
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
    #[command(flatten)]
    fields: Fields,
    /// Only check it; nothing is made
    #[arg(long)]
    dry_run: bool,
}

/// Options of `presets update`.
#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    /// The preset
    preset: String,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Options of `presets delete`.
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// The preset
    preset: String,
    #[command(flatten)]
    consent: ConsentArgs,
    /// Delete exactly this version
    #[arg(long)]
    etag: Option<String>,
    /// Although routes or workflows name it
    #[arg(long)]
    force: bool,
}

/// Options of `presets restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Set back those that were changed too
    #[arg(long)]
    overwrite: bool,
    /// Only tell which; nothing is changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: ConsentArgs,
}

/// `presets`
pub(super) async fn run(
    client: &Client,
    out: &Out,
    command: PresetsCommand,
) -> Result<(), Problem> {
    match command {
        PresetsCommand::List(args) => list(client, out, &args).await,
        PresetsCommand::Show { preset } => {
            let request = GetPresetRequest { name: named(COLLECTION, &preset) };
            let call =
                client.call(request, async |raw, request| raw.presets().get_preset(request).await);
            show(out, &call.await?.preset.ok_or_else(|| empty("preset"))?)
        }
        PresetsCommand::Create(args) => create(client, out, *args).await,
        PresetsCommand::Update(args) => update(client, out, *args).await,
        PresetsCommand::Delete(args) => delete(client, out, args).await,
        PresetsCommand::Restore(args) => restore(client, out, args).await,
    }
}

async fn list(client: &Client, out: &Out, args: &ListArgs) -> Result<(), Problem> {
    let filter = args.filter_and([]);
    let fetch = async |page_size, page_token| {
        let filter = filter.clone();
        let request = ListPresetsRequest { page_size, page_token, filter, ..Default::default() };
        let page =
            client.call(request, async |raw, request| raw.presets().list_presets(request).await);
        let page = page.await?;
        Ok((page.presets, page.next_page_token))
    };
    show::list(out, &COLUMNS, &args.read(fetch).await?)
}

/// The fields that options and a file set.
fn draft(fields: Fields) -> Result<Draft, Problem> {
    let mut draft = Draft::new("preset", &fields.file)?;
    let strategy = fields.strategy.map(|one| match one {
        StrategyArg::Sequential => "PRESET_STRATEGY_SEQUENTIAL",
        StrategyArg::Weighted => "PRESET_STRATEGY_WEIGHTED",
        StrategyArg::Ensemble => "PRESET_STRATEGY_ENSEMBLE",
        StrategyArg::Adaptive => "PRESET_STRATEGY_ADAPTIVE",
    });
    draft.maybe("strategy", "--strategy", strategy);
    if !fields.members.is_empty() {
        let members: Result<Vec<Value>, Problem> =
            fields.members.iter().map(|one| member(one)).collect();
        draft.set("members", "--member", members?);
    }
    let mode = fields.mode.map(|one| match one {
        ModeArg::First => "ENSEMBLE_MODE_FIRST",
        ModeArg::Best => "ENSEMBLE_MODE_BEST",
        ModeArg::Merge => "ENSEMBLE_MODE_MERGE",
    });
    draft.maybe("ensemble.mode", "--mode", mode);
    draft.text("ensemble.judge_model", "--judge", fields.judge.as_deref());
    draft.maybe("ensemble.quorum", "--quorum", fields.quorum);
    draft.maybe("priority", "--priority", fields.priority);
    draft.maybe("enabled", "--enabled", fields.enabled);
    draft.text("display_name", "--name", fields.name.as_deref());
    draft.text("description", "--description", fields.description.as_deref());
    Ok(draft)
}

/// `MODEL` or `MODEL=WEIGHT`.
fn member(text: &str) -> Result<Value, Problem> {
    match text.rsplit_once('=') {
        None => Ok(json!({ "model": text })),
        Some((model, weight)) => match weight.parse::<f64>() {
            Ok(weight) => Ok(json!({ "model": model, "weight": weight })),
            Err(_) => Err(Problem::Usage(format!("--member {text}: {weight:?} is no number"))),
        },
    }
}

async fn create(client: &Client, out: &Out, args: CreateArgs) -> Result<(), Problem> {
    let mut draft = draft(args.fields)?;
    draft.maybe("capability", "--capability", args.capability);
    if draft.get("capability").is_none() {
        draft.set("capability", "--capability", "text-to-text");
    }
    let (preset, sent) = draft.finish::<Preset>()?;
    let sent = sent.would_set("strategy", "--strategy").would_set("members", "--member");
    let sent = sent.would_set("ensemble", "--mode and --judge");
    let request = CreatePresetRequest {
        preset: Some(preset),
        preset_id: args.preset.unwrap_or_default(),
        request_id: request_id_of_its_own(),
        validate_only: args.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.presets().create_preset(request).await);
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.preset.ok_or_else(|| empty("preset"))?)?;
    if args.dry_run {
        out.note(Tone::Aside, "only checked: nothing is made");
    }
    Ok(())
}

async fn update(client: &Client, out: &Out, args: UpdateArgs) -> Result<(), Problem> {
    let draft = draft(args.fields)?;
    let (preset, mask, sent) = draft.change(named(COLLECTION, &args.preset), &args.change)?;
    let request = UpdatePresetRequest {
        preset: Some(preset),
        update_mask: Some(mask),
        allow_missing: false,
        request_id: request_id_of_its_own(),
        validate_only: args.change.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.presets().update_preset(request).await);
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.preset.ok_or_else(|| empty("preset"))?)?;
    if args.change.dry_run {
        out.note(Tone::Aside, "only checked: nothing is changed");
    }
    Ok(())
}

async fn delete(client: &Client, out: &Out, args: DeleteArgs) -> Result<(), Problem> {
    let name = named(COLLECTION, &args.preset);
    args.consent.ask(&format!("delete {name}"))?;
    let request = DeletePresetRequest {
        name: name.clone(),
        etag: quoted(&args.etag.unwrap_or_default()),
        force: args.force,
        request_id: request_id_of_its_own(),
        ..Default::default()
    };
    client.call(request, async |raw, request| raw.presets().delete_preset(request).await).await?;
    out.note(Tone::Aside, &format!("{name} is deleted"));
    Ok(())
}

async fn restore(client: &Client, out: &Out, args: RestoreArgs) -> Result<(), Problem> {
    if args.overwrite && !args.dry_run {
        args.consent.ask("set all default presets back")?;
    }
    let request = RestoreDefaultPresetsRequest {
        overwrite: args.overwrite,
        request_id: request_id_of_its_own(),
        validate_only: args.dry_run,
    };
    let reply = client
        .call(request, async |raw, request| raw.presets().restore_default_presets(request).await);
    let listed = show::Listed { items: reply.await?.presets, more: false };
    if listed.items.is_empty() {
        out.note(Tone::Aside, "all of them are there already");
    }
    show::list(out, &COLUMNS, &listed)
}

fn show(out: &Out, preset: &Preset) -> Result<(), Problem> {
    let ensemble = preset.ensemble.as_ref();
    let calls = preset.statistics.as_ref().filter(|calls| calls.requests > 0);
    let mut rows = vec![
        ("name", preset.name.clone()),
        ("title", preset.display_name.clone()),
        ("what for", preset.description.clone()),
        ("capability", preset.capability.clone()),
        ("strategy", strategy(preset)),
        ("judge", ensemble.map(|one| one.judge_model.clone()).unwrap_or_default()),
        ("priority", preset.priority.to_string()),
        ("enabled", preset.enabled.unwrap_or(true).to_string()),
    ];
    rows.extend(preset.members.iter().map(|one| ("member", known(one))));
    rows.extend([
        (
            "calls",
            calls
                .map(|calls| format!("{} of {} well", calls.successes, calls.requests))
                .unwrap_or_default(),
        ),
        ("from", preset.origin.clone()),
        ("made", time(preset.create_time.as_ref())),
        ("changed", time(preset.update_time.as_ref())),
        ("etag", bare(&preset.etag)),
    ]);
    show::one(out, preset, id(&preset.name), rows)
}

/// A member with its weight and what was learned of it.
fn known(member: &PresetMember) -> String {
    let mut text = member.model.clone();
    if let Some(weight) = member.weight {
        text.push_str(&format!("={weight}"));
    }
    if let Some(learned) = &member.learned {
        let (rate, attempts) = (learned.success_rate * 100.0, learned.attempts);
        text.push_str(&format!("; succeeds in {rate:.0} %, by {attempts} attempts"));
    }
    text
}

fn row(preset: &Preset) -> Vec<String> {
    let members = preset.members.iter().map(|one| id(&one.model)).collect::<Vec<_>>();
    vec![
        id(&preset.name).to_owned(),
        preset.capability.clone(),
        strategy(preset),
        preset.priority.to_string(),
        members.join(", "),
        preset.origin.clone(),
    ]
}

fn strategy(preset: &Preset) -> String {
    let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
    let strategy = word(preset.strategy().as_str_name(), "PRESET_STRATEGY_");
    match (&preset.ensemble, preset.strategy()) {
        (Some(ensemble), PresetStrategy::Ensemble)
            if ensemble.mode() != EnsembleMode::Unspecified =>
        {
            format!("{strategy} {}", word(ensemble.mode().as_str_name(), "ENSEMBLE_MODE_"))
        }
        _ => strategy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_may_have_a_weight() {
        assert_eq!(member("gpt").unwrap(), json!({ "model": "gpt" }));
        assert_eq!(member("gpt=2.5").unwrap(), json!({ "model": "gpt", "weight": 2.5 }));
        assert!(member("gpt=much").is_err());
    }
}
