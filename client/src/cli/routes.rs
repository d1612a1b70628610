//! `routes`: who serves each task, so that callers name the task and not the model.

use clap::{Args, Subcommand};
use mediary_proto::{
    admin::{DeleteRouteRequest, GetRouteRequest, ListRoutesRequest, Route, UpdateRouteRequest},
    v1::{self, model_target::Target},
};
use serde_json::{Value, json};

use super::{
    draft::{ChangeArgs, Draft, FileArgs, NONE, bare, quoted},
    feed::ConsentArgs,
    limits::{Usd, usd},
    models,
    out::{Out, Tone},
    problem::Problem,
    show::{self, Columns, ListArgs},
    table::{id, named},
    when::time,
};
use crate::{
    Client, Error,
    client::{empty, request_id_of_its_own},
};

const COLLECTION: &str = "routes";
const COLUMNS: Columns<Route> = Columns {
    list: "routes",
    header: &["TASK", "CAPABILITY", "SERVED BY", "ELSE BY", "FROM"],
    row,
    id: |route| id(&route.name),
};

/// What to do with routes.
#[derive(Debug, Clone, Subcommand)]
pub enum RoutesCommand {
    /// List the tasks that are assigned
    List(ListArgs),
    /// Show who serves a task
    Show {
        /// The task, such as text
        task: String,
    },
    /// Assign a task, whether or not it was: routes set text --model gpt-x --fallback claude-y
    Set(Box<SetArgs>),
    /// Take an assignment back; one of environment or configuration holds again
    Delete(DeleteArgs),
}

/// Options of `routes set`.
#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    /// The task, such as text
    task: String,
    /// The model that serves it first
    #[arg(short, long, value_name = "MODEL", conflicts_with_all = ["preset", "auto"])]
    model: Option<String>,
    /// The preset whose models serve it first
    #[arg(long, value_name = "PRESET", conflicts_with = "auto")]
    preset: Option<String>,
    /// Let the server choose who serves it first
    #[arg(long)]
    auto: bool,
    /// Who serves it when that fails, in order, repeatable: a model, presets/PRESET or auto; `none`
    /// = nobody else
    #[arg(long = "fallback", value_name = "MODEL")]
    fallbacks: Vec<String>,
    /// What the task needs; without it, what its name says of what the model can do
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
    /// Most that one call may be expected to cost in USD, or none
    #[arg(long, value_name = "USD")]
    max_cost: Option<Usd>,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Options of `routes delete`.
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// The task
    task: String,
    #[command(flatten)]
    consent: ConsentArgs,
    /// Delete exactly this version
    #[arg(long)]
    etag: Option<String>,
    /// Although workflows name it
    #[arg(long)]
    force: bool,
}

/// `routes`
pub(super) async fn run(client: &Client, out: &Out, command: RoutesCommand) -> Result<(), Problem> {
    match command {
        RoutesCommand::List(args) => list(client, out, &args).await,
        RoutesCommand::Show { task } => show(out, &get(client, &task).await?),
        RoutesCommand::Set(args) => set(client, out, *args).await,
        RoutesCommand::Delete(args) => delete(client, out, args).await,
    }
}

async fn list(client: &Client, out: &Out, args: &ListArgs) -> Result<(), Problem> {
    let filter = args.filter_and([]);
    let fetch = async |page_size, page_token| {
        let filter = filter.clone();
        let request = ListRoutesRequest { page_size, page_token, filter, ..Default::default() };
        let page =
            client.call(request, async |raw, request| raw.routes().list_routes(request).await);
        let page = page.await?;
        Ok((page.routes, page.next_page_token))
    };
    show::list(out, &COLUMNS, &args.read(fetch).await?)
}

async fn get(client: &Client, task: &str) -> Result<Route, Problem> {
    let request = GetRouteRequest { name: named(COLLECTION, task) };
    let reply = client.call(request, async |raw, request| raw.routes().get_route(request).await);
    Ok(reply.await?.route.ok_or_else(|| empty("route"))?)
}

async fn set(client: &Client, out: &Out, args: SetArgs) -> Result<(), Problem> {
    let mut draft = Draft::new("route", &args.file)?;
    match (&args.model, &args.preset) {
        (Some(model), _) => draft.set("target", "--model", json!({ "model": model })),
        (_, Some(preset)) => draft.set("target", "--preset", json!({ "preset": preset })),
        _ if args.auto => draft.set("target", "--auto", json!({ "auto": {} })),
        _ => {}
    }
    match args.fallbacks.as_slice() {
        [] => {}
        [only] if only == NONE => draft.set("fallbacks", "--fallback", Value::Null),
        all => {
            let all: Vec<Value> = all.iter().map(|one| fallback(one)).collect();
            draft.set("fallbacks", "--fallback", all);
        }
    }
    draft.maybe("capability", "--capability", args.capability);
    draft.maybe("max_cost_pico_usd", "--max-cost", args.max_cost);
    draft.text("display_name", "--name", args.name.as_deref());
    if draft.get("capability").is_none()
        && let Some(model) = &args.model
        && let Some(capability) = needed(client, &args.task, model).await?
    {
        draft.set("capability", "--capability", capability);
    }
    let (route, mask, sent) = draft.change(named(COLLECTION, &args.task), &args.change)?;
    let request = UpdateRouteRequest {
        route: Some(route),
        update_mask: Some(mask),
        allow_missing: true,
        request_id: request_id_of_its_own(),
        validate_only: args.change.dry_run,
    };
    let reply = client.call(request, async |raw, request| raw.routes().update_route(request).await);
    let sent = sent
        .would_set("name", "TASK")
        .would_set("capability", "--capability")
        .would_set("target", "--model, --preset or --auto");
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.route.ok_or_else(|| empty("route"))?)?;
    if args.change.dry_run {
        out.note(Tone::Aside, "only checked: nothing is changed");
    }
    Ok(())
}

/// What a task that is assigned for the first time needs, by its name and what its model can do.
/// None = it is assigned already, or the server shall tell what is missing.
async fn needed(client: &Client, task: &str, model: &str) -> Result<Option<String>, Problem> {
    match get(client, task).await {
        Ok(_) => return Ok(None),
        Err(Problem::Call(Error::NotFound(_))) => {}
        Err(problem) => return Err(problem),
    }
    let model = models::find(client, model).await?;
    match (meant(id(task), &model.capabilities), model.capabilities.as_slice()) {
        (Some(capability), _) => Ok(Some(capability.to_owned())),
        (None, []) => Ok(None),
        (None, several) => Err(Problem::Usage(format!(
            "which of {} is the task? Name it with --capability",
            several.join(", ")
        ))),
    }
}

/// The capability that a task means with a model of these: `text` and `image` say what comes out, and
/// for a model of texts any other task is one of text.
fn meant<'a>(task: &str, capabilities: &'a [String]) -> Option<&'a str> {
    let named = format!("text-to-{task}");
    let mut all = capabilities.iter().map(String::as_str);
    if let [only] = capabilities {
        return Some(only);
    }
    let makes_text = all.clone().all(|one| one.ends_with("-to-text"));
    all.find(|one| *one == named || (makes_text && *one == "text-to-text"))
}

async fn delete(client: &Client, out: &Out, args: DeleteArgs) -> Result<(), Problem> {
    let name = named(COLLECTION, &args.task);
    args.consent.ask(&format!("delete {name}"))?;
    let request = DeleteRouteRequest {
        name: name.clone(),
        etag: quoted(&args.etag.unwrap_or_default()),
        force: args.force,
        request_id: request_id_of_its_own(),
        ..Default::default()
    };
    client.call(request, async |raw, request| raw.routes().delete_route(request).await).await?;
    out.note(Tone::Aside, &format!("{name} is deleted"));
    Ok(())
}

fn fallback(name: &str) -> Value {
    match name {
        "auto" => json!({ "auto": {} }),
        preset if preset.starts_with("presets/") => json!({ "preset": preset }),
        model => json!({ "model": model }),
    }
}

fn show(out: &Out, route: &Route) -> Result<(), Problem> {
    let calls = route.statistics.as_ref().filter(|calls| calls.requests > 0);
    let rows = [
        ("name", route.name.clone()),
        ("title", route.display_name.clone()),
        ("capability", route.capability.clone()),
        ("served by", route.target.as_ref().map(target).unwrap_or_default()),
        ("else by", fallbacks(route)),
        ("most cost", route.max_cost_pico_usd.map(usd).unwrap_or_default()),
        (
            "calls",
            calls
                .map(|calls| format!("{} of {} well", calls.successes, calls.requests))
                .unwrap_or_default(),
        ),
        ("from", route.origin.clone()),
        ("made", time(route.create_time.as_ref())),
        ("changed", time(route.update_time.as_ref())),
        ("etag", bare(&route.etag)),
    ];
    show::one(out, route, id(&route.name), rows)
}

fn row(route: &Route) -> Vec<String> {
    vec![
        id(&route.name).to_owned(),
        route.capability.clone(),
        route.target.as_ref().map(target).unwrap_or_default(),
        fallbacks(route),
        route.origin.clone(),
    ]
}

fn fallbacks(route: &Route) -> String {
    route.fallbacks.iter().map(target).collect::<Vec<_>>().join(", ")
}

/// A target as it is named on the command line.
fn target(target: &v1::ModelTarget) -> String {
    match &target.target {
        Some(Target::Model(name) | Target::Preset(name) | Target::Route(name)) => name.clone(),
        Some(Target::Auto(_)) | None => "auto".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_means_what_its_name_says_of_what_the_model_can_do() {
        let of = |task: &str, capabilities: &[&str]| {
            let all: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
            meant(task, &all).map(str::to_owned)
        };
        let seeing = ["image-to-text", "text-to-text"];
        let painting = ["image-to-image", "text-to-image"];
        assert_eq!(of("text", &seeing).as_deref(), Some("text-to-text"));
        assert_eq!(of("agent", &seeing).as_deref(), Some("text-to-text"));
        assert_eq!(of("image", &painting).as_deref(), Some("text-to-image"));
        assert_eq!(of("retouch", &painting), None);
        assert_eq!(of("retouch", &["image-to-image"]).as_deref(), Some("image-to-image"));
        assert_eq!(of("text", &[]), None);
    }
}
