//! `providers`: who serves models, configured or not.

use clap::{Args, Subcommand, ValueEnum};
use futures::TryStreamExt as _;
use mediary_proto::{
    admin::{CreateProviderRequest, DeleteProviderRequest, UpdateProviderRequest},
    v1::{self, Provider, ProviderHealth, ProviderKind},
};

use super::{
    draft::{ChangeArgs, Draft, FileArgs, bare, quoted},
    feed::ConsentArgs,
    limits::LimitArgs,
    out::{Out, Tone},
    problem::Problem,
    show::{self, Columns, Listed, WHOLE_PAGE},
    table::{id, named, word},
    when::time,
};
use crate::{
    Client,
    client::{empty, request_id_of_its_own},
};

const COLLECTION: &str = "providers";
const COLUMNS: Columns<Provider> = Columns {
    list: "providers",
    header: &["PROVIDER", "NAME", "STATE", "WHERE", "CAPABILITIES"],
    row,
    id: |provider| id(&provider.name),
};

/// Options of `providers`.
#[derive(Debug, Clone, Args)]
pub struct ProvidersArgs {
    #[command(subcommand)]
    command: Option<ProvidersCommand>,
}

#[derive(Debug, Clone, Subcommand)]
enum ProvidersCommand {
    /// List providers, as without a command
    List,
    /// Show one provider
    Show {
        /// Its id or name
        provider: String,
    },
    /// Add a provider that speaks a known protocol
    Add(Box<AddArgs>),
    /// Change a provider; one of the built-in catalog is overlaid, not lost
    Update(Box<UpdateArgs>),
    /// Delete a provider, or what was laid over a built-in one
    Delete(DeleteArgs),
}

#[derive(Debug, Clone, Args)]
struct AddArgs {
    /// Id to use, such as my-vllm
    id: String,
    #[command(flatten)]
    settings: Settings,
    /// Only check it; nothing is added
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Args)]
struct UpdateArgs {
    /// Its id or name
    provider: String,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Clone, Args)]
struct DeleteArgs {
    /// Its id or name
    provider: String,
    #[command(flatten)]
    consent: ConsentArgs,
    /// Delete exactly this version
    #[arg(long)]
    etag: Option<String>,
    /// Its models and accounts too
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Args)]
struct Settings {
    /// The wire it speaks, such as openai-chat or anthropic
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Where it is called
    #[arg(long, value_name = "URL")]
    base_uri: Option<String>,
    /// Where it runs
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// How its key is sent, such as bearer, header, query or none
    #[arg(long, value_name = "SCHEME")]
    auth_scheme: Option<String>,
    /// A variable of the server that configures it, repeatable; `none` = none
    #[arg(long = "required-env", value_name = "VARIABLE")]
    required_env: Vec<String>,
    /// Where its own documentation is
    #[arg(long, value_name = "URL")]
    documentation_uri: Option<String>,
    /// Settings of the protocol as a JSON object
    #[arg(long, value_name = "JSON")]
    protocol_settings: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// At a vendor
    Remote,
    /// On machines of your own
    Local,
}

/// `providers`
pub(super) async fn run(client: &Client, out: &Out, args: ProvidersArgs) -> Result<(), Problem> {
    match args.command {
        None | Some(ProvidersCommand::List) => {
            let items = all(client).await?;
            show::list(out, &COLUMNS, &Listed { items, more: false })
        }
        Some(ProvidersCommand::Show { provider }) => {
            let request = v1::GetProviderRequest { name: named(COLLECTION, &provider) };
            let reply =
                client.call(request, async |raw, request| raw.models().get_provider(request).await);
            show(out, &reply.await?.provider.ok_or_else(|| empty("provider"))?)
        }
        Some(ProvidersCommand::Add(args)) => add(client, out, *args).await,
        Some(ProvidersCommand::Update(args)) => update(client, out, *args).await,
        Some(ProvidersCommand::Delete(args)) => delete(client, out, args).await,
    }
}

/// Every provider, configured or not.
pub(super) async fn all(client: &Client) -> Result<Vec<Provider>, Problem> {
    let request = v1::ListProvidersRequest { page_size: WHOLE_PAGE, ..Default::default() };
    Ok(client.list_providers(request).try_collect().await?)
}

/// How a provider's calls went, in a word.
pub(super) fn health(provider: &Provider) -> String {
    match provider.health() {
        ProviderHealth::Unknown | ProviderHealth::Unspecified => "not called yet".to_owned(),
        known => word(known.as_str_name(), "PROVIDER_HEALTH_"),
    }
}

async fn add(client: &Client, out: &Out, args: AddArgs) -> Result<(), Problem> {
    let (provider, sent) = args.settings.draft()?.finish()?;
    let request = CreateProviderRequest {
        provider: Some(provider),
        provider_id: id(&args.id).to_owned(),
        request_id: request_id_of_its_own(),
        validate_only: args.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.catalog().create_provider(request).await);
    let sent = sent.would_set("protocol", "--protocol").would_set("base_uri", "--base-uri");
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.provider.ok_or_else(|| empty("provider"))?)?;
    remark(out, args.dry_run);
    Ok(())
}

async fn update(client: &Client, out: &Out, args: UpdateArgs) -> Result<(), Problem> {
    let draft = args.settings.draft()?;
    let (provider, mask, sent) = draft.change(named(COLLECTION, &args.provider), &args.change)?;
    let request = UpdateProviderRequest {
        provider: Some(provider),
        update_mask: Some(mask),
        request_id: request_id_of_its_own(),
        validate_only: args.change.dry_run,
        ..Default::default()
    };
    let reply =
        client.call(request, async |raw, request| raw.catalog().update_provider(request).await);
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.provider.ok_or_else(|| empty("provider"))?)?;
    remark(out, args.change.dry_run);
    Ok(())
}

async fn delete(client: &Client, out: &Out, args: DeleteArgs) -> Result<(), Problem> {
    let name = named(COLLECTION, &args.provider);
    let more = if args.force { " with its models and accounts" } else { "" };
    args.consent.ask(&format!("delete {name}{more}"))?;
    let request = DeleteProviderRequest {
        name: name.clone(),
        etag: quoted(&args.etag.unwrap_or_default()),
        force: args.force,
        request_id: request_id_of_its_own(),
        ..Default::default()
    };
    client.call(request, async |raw, request| raw.catalog().delete_provider(request).await).await?;
    out.note(Tone::Aside, &format!("{name} is deleted"));
    Ok(())
}

impl Settings {
    fn draft(&self) -> Result<Draft, Problem> {
        let mut draft = Draft::new("provider", &self.file)?;
        draft.maybe("protocol", "--protocol", self.protocol.as_deref());
        draft.text("base_uri", "--base-uri", self.base_uri.as_deref());
        draft.maybe("kind", "--kind", self.kind.map(|kind| kind.wire().as_str_name()));
        draft.text("display_name", "--name", self.name.as_deref());
        draft.maybe("auth_scheme", "--auth-scheme", self.auth_scheme.as_deref());
        draft.list("required_env", "--required-env", &self.required_env);
        draft.text("documentation_uri", "--documentation-uri", self.documentation_uri.as_deref());
        let settings = self.protocol_settings.as_deref();
        draft.text("protocol_settings_json", "--protocol-settings", settings);
        self.limits.lay(&mut draft, "default_limits");
        Ok(draft)
    }
}

impl Kind {
    fn wire(self) -> ProviderKind {
        match self {
            Self::Remote => ProviderKind::Remote,
            Self::Local => ProviderKind::Local,
        }
    }
}

fn remark(out: &Out, dry_run: bool) {
    if dry_run {
        out.note(Tone::Aside, "only checked: nothing is changed");
    }
}

fn show(out: &Out, provider: &Provider) -> Result<(), Problem> {
    let rows = [
        ("name", provider.name.clone()),
        ("title", provider.display_name.clone()),
        ("state", state(provider)),
        ("where", word(provider.kind().as_str_name(), "PROVIDER_KIND_")),
        ("protocol", provider.protocol.clone()),
        ("address", provider.base_uri.clone()),
        ("key is sent as", provider.auth_scheme.clone()),
        ("capabilities", provider.capabilities.join(", ")),
        ("usable accounts", provider.accounts_usable.to_string()),
        ("variables", provider.required_env.join(", ")),
        ("documentation", provider.documentation_uri.clone()),
        ("settings", provider.protocol_settings_json.clone()),
        ("from", word(provider.origin().as_str_name(), "MODEL_ORIGIN_")),
        ("changed", time(provider.update_time.as_ref())),
        ("etag", bare(&provider.etag)),
    ];
    show::one(out, provider, id(&provider.name), rows)
}

fn row(provider: &Provider) -> Vec<String> {
    vec![
        id(&provider.name).to_owned(),
        provider.display_name.clone(),
        state(provider),
        word(provider.kind().as_str_name(), "PROVIDER_KIND_"),
        provider.capabilities.join(", "),
    ]
}

fn state(provider: &Provider) -> String {
    if provider.configured { health(provider) } else { "not configured".to_owned() }
}
