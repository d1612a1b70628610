//! `keys`: the keys with which callers reach the server.

use clap::{Args, Subcommand, ValueEnum};
use mediary_proto::{
    admin::{
        ApiKey, CreateApiKeyRequest, DeleteApiKeyRequest, GetApiKeyRequest, ListApiKeysRequest,
        UpdateApiKeyRequest,
    },
    options,
};
use serde_json::json;

use super::{
    draft::{ChangeArgs, Draft, FileArgs, NONE, Sent, bare, quoted},
    feed::ConsentArgs,
    global::Output,
    json,
    limits::{self, BudgetArgs, LimitArgs},
    models,
    out::{Out, Tone},
    problem::Problem,
    show::{self, Columns, ListArgs, Listed},
    table::{id, named, word},
    when::{When, seconds_until, time},
};
use crate::{
    Client,
    client::{empty, request_id_of_its_own},
};

const COLLECTION: &str = "apiKeys";
const COLUMNS: Columns<ApiKey> = Columns {
    list: "api_keys",
    header: &["KEY", "NAME", "ROLE", "OWNER", "STATE", "ENDS", "LAST USED", "SECRET"],
    row,
    id: |key| id(&key.name),
};

/// What to do with keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// List keys
    List(ListArgs),
    /// Show one key
    Show {
        /// Its id or name
        key: String,
    },
    /// Make a key; its secret goes to stdout, alone and this once
    Create(Box<CreateArgs>),
    /// Change a key, from its next call on
    Update(Box<UpdateArgs>),
    /// Let a key be used
    Enable(SwitchArgs),
    /// Keep a key from being used
    Disable(SwitchArgs),
    /// Delete a key and end the streams that it opened
    Delete(DeleteArgs),
}

/// Options of `keys create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Id to use, such as build-server; without it the server makes one
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Whose work it does; keys of one owner see each other's. Without it, an owner of its own
    #[arg(long)]
    owner: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Only check it; no key is made
    #[arg(long)]
    dry_run: bool,
}

/// Options of `keys update`.
#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    /// Its id or name
    key: String,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Options of `keys enable` and `keys disable`.
#[derive(Debug, Clone, Args)]
pub struct SwitchArgs {
    /// Its id or name
    key: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Options of `keys delete`.
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// Its id or name
    key: String,
    #[command(flatten)]
    consent: ConsentArgs,
    /// Delete exactly this version
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct Settings {
    /// What it may do
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A task route it may use, repeatable; `none` = all again
    #[arg(long = "route", value_name = "TASK")]
    routes: Vec<String>,
    /// A model it may use, or all of a provider as PROVIDER/-, repeatable; `none` = all again
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// When it ends: 30d, 2027-01-31, 2027-01-31T12:00:00Z, or never
    #[arg(long, value_name = "WHEN")]
    expires: Option<When>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Sees what there is
    Viewer,
    /// Calls models too
    User,
    /// Changes routes and models too, and sees everybody's work
    Operator,
    /// Everything
    Admin,
}

/// `keys`
pub(super) async fn run(client: &Client, out: &Out, command: KeysCommand) -> Result<(), Problem> {
    match command {
        KeysCommand::List(args) => {
            let filter = args.filter_and([]);
            show::list(out, &COLUMNS, &read(client, &args, &filter).await?)
        }
        KeysCommand::Show { key } => show(out, &get(client, &key).await?),
        KeysCommand::Create(args) => create(client, out, *args).await,
        KeysCommand::Update(args) => {
            let draft = args.settings.draft(client).await?;
            update(client, out, &args.key, draft, &args.change).await
        }
        KeysCommand::Enable(args) => switch(client, out, args, true).await,
        KeysCommand::Disable(args) => switch(client, out, args, false).await,
        KeysCommand::Delete(args) => delete(client, out, args).await,
    }
}

/// Keys of the server.
pub(super) async fn read(
    client: &Client,
    args: &ListArgs,
    filter: &str,
) -> Result<Listed<ApiKey>, Problem> {
    let fetch = async |page_size, page_token| {
        let filter = filter.to_owned();
        let request = ListApiKeysRequest { page_size, page_token, filter, ..Default::default() };
        let page =
            client.call(request, async |raw, request| raw.keys().list_api_keys(request).await);
        let page = page.await?;
        Ok((page.api_keys, page.next_page_token))
    };
    args.read(fetch).await
}

async fn get(client: &Client, key: &str) -> Result<ApiKey, Problem> {
    let request = GetApiKeyRequest { name: named(COLLECTION, key) };
    let reply = client.call(request, async |raw, request| raw.keys().get_api_key(request).await);
    Ok(reply.await?.api_key.ok_or_else(|| empty("api_key"))?)
}

async fn create(client: &Client, out: &Out, args: CreateArgs) -> Result<(), Problem> {
    let mut draft = args.settings.draft(client).await?;
    draft.maybe("owner", "--owner", args.owner);
    let (api_key, sent) = draft.finish()?;
    let request = CreateApiKeyRequest {
        api_key: Some(api_key),
        api_key_id: args.id.unwrap_or_default(),
        request_id: request_id_of_its_own(),
        validate_only: args.dry_run,
    };
    let reply = client.call(request, async |raw, request| raw.keys().create_api_key(request).await);
    let made = reply.await.map_err(|error| words(sent).refused(error))?;
    let key = made.api_key.ok_or_else(|| empty("api_key"))?;
    if args.dry_run {
        return checked(out, &key);
    }
    if out.is_json() {
        return out.json(&json!({ "api_key": json::message(&key), "secret": made.secret }));
    }
    if out.form != Output::Id {
        let role = word(key.role().as_str_name(), "ROLE_");
        let made = format!("{} may do what a {role} may; its secret is shown this once:", key.name);
        out.note(Tone::Aside, &made);
    }
    out.line(&made.secret)
}

async fn update(
    client: &Client,
    out: &Out,
    key: &str,
    draft: Draft,
    change: &ChangeArgs,
) -> Result<(), Problem> {
    let (api_key, mask, sent) = draft.change(named(COLLECTION, key), change)?;
    let request = UpdateApiKeyRequest {
        api_key: Some(api_key),
        update_mask: Some(mask),
        request_id: request_id_of_its_own(),
        validate_only: change.dry_run,
    };
    let reply = client.call(request, async |raw, request| raw.keys().update_api_key(request).await);
    let reply = reply.await.map_err(|error| words(sent).refused(error))?;
    let key = reply.api_key.ok_or_else(|| empty("api_key"))?;
    if change.dry_run { checked(out, &key) } else { show(out, &key) }
}

async fn switch(client: &Client, out: &Out, args: SwitchArgs, on: bool) -> Result<(), Problem> {
    let mut draft = Draft::new("api_key", &FileArgs::default())?;
    draft.set("enabled", if on { "enable" } else { "disable" }, on);
    update(client, out, &args.key, draft, &args.change).await
}

async fn delete(client: &Client, out: &Out, args: DeleteArgs) -> Result<(), Problem> {
    let name = named(COLLECTION, &args.key);
    args.consent.ask(&format!("delete {name}"))?;
    let request = DeleteApiKeyRequest {
        name: name.clone(),
        etag: quoted(&args.etag.unwrap_or_default()),
        request_id: request_id_of_its_own(),
        ..Default::default()
    };
    client.call(request, async |raw, request| raw.keys().delete_api_key(request).await).await?;
    out.note(Tone::Aside, &format!("{name} is deleted"));
    Ok(())
}

impl Settings {
    async fn draft(&self, client: &Client) -> Result<Draft, Problem> {
        let mut draft = Draft::new("api_key", &self.file)?;
        draft.maybe("role", "--role", self.role.map(|role| role.wire().as_str_name()));
        draft.text("display_name", "--name", self.name.as_deref());
        let route = |task: &String| if task == NONE { task.clone() } else { named("routes", task) };
        let routes: Vec<String> = self.routes.iter().map(route).collect();
        draft.list("allowed_routes", "--route", &routes);
        draft.list("allowed_models", "--model", &models::full_names(client, &self.models).await?);
        let ends = self.expires.map(|when| when.time().map(|time| time.to_string()));
        draft.maybe("expire_time", "--expires", ends);
        self.limits.lay(&mut draft, "limits");
        self.budget.lay(&mut draft);
        Ok(draft)
    }
}

impl Role {
    fn wire(self) -> options::Role {
        match self {
            Self::Viewer => options::Role::Viewer,
            Self::User => options::Role::User,
            Self::Operator => options::Role::Operator,
            Self::Admin => options::Role::Admin,
        }
    }
}

fn words(sent: Sent) -> Sent {
    sent.would_set("role", "--role")
}

fn checked(out: &Out, key: &ApiKey) -> Result<(), Problem> {
    show(out, key)?;
    out.note(Tone::Aside, "only checked: nothing is changed");
    Ok(())
}

fn show(out: &Out, key: &ApiKey) -> Result<(), Problem> {
    let rows = [
        ("name", key.name.clone()),
        ("title", key.display_name.clone()),
        ("role", word(key.role().as_str_name(), "ROLE_")),
        ("owner", key.owner.clone()),
        ("state", state(key).to_owned()),
        ("secret", hint(&key.key_hint)),
        ("routes", key.allowed_routes.join(", ")),
        ("models", key.allowed_models.join(", ")),
        ("limits", limits::words(key.limits.as_ref(), key.budget.as_ref())),
        ("ends", time(key.expire_time.as_ref())),
        ("last used", time(key.last_used_time.as_ref())),
        ("made", time(key.create_time.as_ref())),
        ("changed", time(key.update_time.as_ref())),
        ("etag", bare(&key.etag)),
    ];
    show::one(out, key, id(&key.name), rows)
}

fn row(key: &ApiKey) -> Vec<String> {
    vec![
        id(&key.name).to_owned(),
        key.display_name.clone(),
        word(key.role().as_str_name(), "ROLE_"),
        key.owner.clone(),
        state(key).to_owned(),
        key.expire_time.as_ref().map_or_else(|| "never".to_owned(), |end| time(Some(end))),
        key.last_used_time.as_ref().map_or_else(|| "never".to_owned(), |used| time(Some(used))),
        hint(&key.key_hint),
    ]
}

pub(super) fn state(key: &ApiKey) -> &'static str {
    let is_over = key.expire_time.as_ref().is_some_and(|end| seconds_until(end) <= 0);
    match (is_over, key.enabled) {
        (true, _) => "ended",
        (false, Some(false)) => "disabled",
        (false, _) => "enabled",
    }
}

/// The end of a secret.
pub(super) fn hint(end: &str) -> String {
    if end.is_empty() { String::new() } else { format!("...{end}") }
}
