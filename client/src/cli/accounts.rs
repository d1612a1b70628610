//! `accounts`: the server's accounts at providers. Secrets go in and never come out.

use clap::{Args, Subcommand};
use mediary_proto::admin::{
    Account, AccountTest, CreateAccountRequest, DeleteAccountRequest, DisableAccountRequest,
    EnableAccountRequest, GetAccountRequest, ListAccountsRequest, TestAccountRequest,
    UpdateAccountRequest,
};

use super::{
    draft::{ChangeArgs, Draft, FileArgs, bare, quoted},
    feed::{ConsentArgs, SecretArgs},
    json,
    keys::hint,
    limits::{self, BudgetArgs, LimitArgs},
    models,
    out::{Out, Tone},
    problem::Problem,
    show::{self, Columns, ListArgs, Listed, quote},
    table::{id, named, word},
    when::time,
};
use crate::{
    Client,
    client::{empty, request_id_of_its_own},
};

const COLLECTION: &str = "accounts";
const COLUMNS: Columns<Account> = Columns {
    list: "accounts",
    header: &["ACCOUNT", "PROVIDER", "STATE", "SECRET", "FROM", "NAME"],
    row,
    id: |account| id(&account.name),
};

/// What to do with accounts.
#[derive(Debug, Clone, Subcommand)]
pub enum AccountsCommand {
    /// List accounts
    List {
        /// Only those at this provider
        #[arg(long)]
        provider: Option<String>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show one account, never its secret
    Show {
        /// Its id or name
        account: String,
    },
    /// Add an account at a provider
    Add(Box<AddArgs>),
    /// Change an account, its secret included
    Update(Box<UpdateArgs>),
    /// Let an account be used, and forget that its key was rejected
    Enable(SwitchArgs),
    /// Keep an account from being used; calls in flight go on
    Disable(SwitchArgs),
    /// Delete an account and its secret
    Delete(DeleteArgs),
    /// Check an account's key at its provider, for nothing where that is possible
    Test {
        /// Its id or name
        account: String,
    },
}

/// Options of `accounts add`.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// Whom the account is at, such as openai; or in the file of -f
    provider: Option<String>,
    /// Id to use; without it the server makes one
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Only check it; nothing is added
    #[arg(long)]
    dry_run: bool,
}

/// Options of `accounts update`.
#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    /// Its id or name
    account: String,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Options of `accounts enable` and `accounts disable`.
#[derive(Debug, Clone, Args)]
pub struct SwitchArgs {
    /// Its id or name
    account: String,
    /// Only this version
    #[arg(long)]
    etag: Option<String>,
}

/// Options of `accounts delete`.
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// Its id or name
    account: String,
    #[command(flatten)]
    consent: ConsentArgs,
    /// Delete exactly this version
    #[arg(long)]
    etag: Option<String>,
    /// Although jobs that are not over use it
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Args)]
struct Settings {
    #[command(flatten)]
    secret: SecretArgs,
    /// Let the server read the key at this place of its own: env:NAME or file:/path
    #[arg(long = "ref", value_name = "PLACE", conflicts_with_all = ["key_env", "key_file", "key_stdin"])]
    reference: Option<String>,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Where it is called, for an address of its own; `none` = the provider's again
    #[arg(long, value_name = "URL")]
    base_uri: Option<String>,
    /// Further settings of the protocol as a JSON object, never secrets
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
    /// Share of the load among equals, above 0
    #[arg(long, value_name = "NUMBER")]
    weight: Option<f64>,
    /// A model it may be used for, repeatable; `none` = all again
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// `accounts`
pub(super) async fn run(
    client: &Client,
    out: &Out,
    command: AccountsCommand,
) -> Result<(), Problem> {
    match command {
        AccountsCommand::List { provider, list } => {
            let provider = provider
                .map(|provider| format!("provider = {}", quote(&named("providers", &provider))));
            let filter = list.filter_and(provider);
            show::list(out, &COLUMNS, &read(client, &list, &filter).await?)
        }
        AccountsCommand::Show { account } => show(out, get(client, &account).await?),
        AccountsCommand::Add(args) => add(client, out, *args).await,
        AccountsCommand::Update(args) => update(client, out, *args).await,
        AccountsCommand::Enable(args) => {
            let request = EnableAccountRequest {
                name: named(COLLECTION, &args.account),
                etag: quoted(&args.etag.unwrap_or_default()),
                request_id: request_id_of_its_own(),
            };
            let reply = client
                .call(request, async |raw, request| raw.accounts().enable_account(request).await);
            show(out, reply.await?.account.ok_or_else(|| empty("account"))?)
        }
        AccountsCommand::Disable(args) => {
            let request = DisableAccountRequest {
                name: named(COLLECTION, &args.account),
                etag: quoted(&args.etag.unwrap_or_default()),
                request_id: request_id_of_its_own(),
            };
            let reply = client
                .call(request, async |raw, request| raw.accounts().disable_account(request).await);
            show(out, reply.await?.account.ok_or_else(|| empty("account"))?)
        }
        AccountsCommand::Delete(args) => delete(client, out, args).await,
        AccountsCommand::Test { account } => test(client, out, &account).await,
    }
}

/// Accounts of the server.
pub(super) async fn read(
    client: &Client,
    args: &ListArgs,
    filter: &str,
) -> Result<Listed<Account>, Problem> {
    let fetch = async |page_size, page_token| {
        let filter = filter.to_owned();
        let request = ListAccountsRequest { page_size, page_token, filter, ..Default::default() };
        let page =
            client.call(request, async |raw, request| raw.accounts().list_accounts(request).await);
        let page = page.await?;
        Ok((page.accounts.into_iter().map(plain).collect(), page.next_page_token))
    };
    args.read(fetch).await
}

async fn get(client: &Client, account: &str) -> Result<Account, Problem> {
    let request = GetAccountRequest { name: named(COLLECTION, account) };
    let reply =
        client.call(request, async |raw, request| raw.accounts().get_account(request).await);
    Ok(reply.await?.account.ok_or_else(|| empty("account"))?)
}

async fn add(client: &Client, out: &Out, args: AddArgs) -> Result<(), Problem> {
    let mut draft = args.settings.draft(client).await?;
    let provider = args.provider.map(|provider| named("providers", &provider));
    draft.maybe("provider", "PROVIDER", provider);
    let (account, sent) = draft.finish()?;
    let request = CreateAccountRequest {
        account: Some(account),
        account_id: args.id.unwrap_or_default(),
        request_id: request_id_of_its_own(),
        validate_only: args.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.accounts().create_account(request).await);
    let sent = sent
        .would_set("provider", "PROVIDER")
        .would_set("api_key", "--key-env, --key-file or --key-stdin")
        .would_set("secret_ref", "--ref")
        .would_set("credential", "--key-env, --key-file, --key-stdin or --ref");
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, reply.account.ok_or_else(|| empty("account"))?)?;
    remark(out, args.dry_run);
    Ok(())
}

async fn update(client: &Client, out: &Out, args: UpdateArgs) -> Result<(), Problem> {
    let draft = args.settings.draft(client).await?;
    let (account, mask, sent) = draft.change(named(COLLECTION, &args.account), &args.change)?;
    let request = UpdateAccountRequest {
        account: Some(account),
        update_mask: Some(mask),
        request_id: request_id_of_its_own(),
        validate_only: args.change.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.accounts().update_account(request).await);
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, reply.account.ok_or_else(|| empty("account"))?)?;
    remark(out, args.change.dry_run);
    Ok(())
}

async fn delete(client: &Client, out: &Out, args: DeleteArgs) -> Result<(), Problem> {
    let name = named(COLLECTION, &args.account);
    args.consent.ask(&format!("delete {name} and its secret"))?;
    let request = DeleteAccountRequest {
        name: name.clone(),
        etag: quoted(&args.etag.unwrap_or_default()),
        force: args.force,
        request_id: request_id_of_its_own(),
        ..Default::default()
    };
    client.call(request, async |raw, request| raw.accounts().delete_account(request).await).await?;
    out.note(Tone::Aside, &format!("{name} is deleted"));
    Ok(())
}

async fn test(client: &Client, out: &Out, account: &str) -> Result<(), Problem> {
    let name = named(COLLECTION, account);
    let request = TestAccountRequest { name: name.clone(), request_id: request_id_of_its_own() };
    let reply =
        client.call(request, async |raw, request| raw.accounts().test_account(request).await);
    let mut found: AccountTest = reply.await?.account_test.ok_or_else(|| empty("account_test"))?;
    if let Some(error) = &mut found.error {
        // The details of a status are binary; code and message are kept.
        error.details.clear();
    }
    let verdict = verdict(&found);
    if out.is_json() {
        out.json(&json::message(&found))?;
    } else if found.accepted {
        out.line(&format!("{name}: {verdict}"))?;
    }
    if found.accepted {
        return Ok(());
    }
    Err(Problem::Finding {
        message: format!("{name}: {verdict}"),
        fix: format!("`mediary accounts update {} --key-stdin` takes another key", id(&name)),
    })
}

fn verdict(found: &AccountTest) -> String {
    let mut words = match (found.accepted, found.conclusive) {
        (true, true) => "the provider accepts its key".to_owned(),
        (true, false) => {
            "its key looks right; the provider has no free call that would tell".to_owned()
        }
        (false, _) => match &found.error {
            Some(error) => error.message.clone(),
            None => "its key is not accepted".to_owned(),
        },
    };
    if let Some(models) = found.models_listed {
        words.push_str(&format!(", and lists {models} models for it"));
    }
    if let Some(took) = &found.latency_duration {
        let seconds = took.seconds as f64 + f64::from(took.nanos) / 1e9;
        words.push_str(&format!(" ({seconds:.2} s)"));
    }
    words
}

impl Settings {
    async fn draft(&self, client: &Client) -> Result<Draft, Problem> {
        let mut draft = Draft::new("account", &self.file)?;
        draft.maybe("api_key", self.secret.option(), self.secret.read()?);
        draft.maybe("secret_ref", "--ref", self.reference.as_deref());
        draft.text("display_name", "--name", self.name.as_deref());
        draft.text("base_uri", "--base-uri", self.base_uri.as_deref());
        draft.text("settings_json", "--settings", self.settings.as_deref());
        draft.maybe("weight", "--weight", self.weight);
        draft.list("allowed_models", "--model", &models::full_names(client, &self.models).await?);
        self.limits.lay(&mut draft, "limits");
        self.budget.lay(&mut draft);
        Ok(draft)
    }
}

fn remark(out: &Out, dry_run: bool) {
    if dry_run {
        out.note(Tone::Aside, "only checked: nothing is changed");
    }
}

fn show(out: &Out, account: Account) -> Result<(), Problem> {
    let account = plain(account);
    let health = account.health.clone().unwrap_or_default();
    let rows = [
        ("name", account.name.clone()),
        ("title", account.display_name.clone()),
        ("provider", account.provider.clone()),
        ("state", state(&account)),
        ("secret", hint(&account.key_hint)),
        ("address", account.base_uri.clone()),
        ("settings", account.settings_json.clone()),
        ("limits", limits::words(account.limits.as_ref(), account.budget.as_ref())),
        ("weight", account.weight.map(|weight| weight.to_string()).unwrap_or_default()),
        ("models", account.allowed_models.join(", ")),
        ("last failure", health.last_error.map(|error| error.message).unwrap_or_default()),
        ("tried again", time(health.retry_time.as_ref())),
        ("from", account.origin.clone()),
        ("made", time(account.create_time.as_ref())),
        ("changed", time(account.update_time.as_ref())),
        ("etag", bare(&account.etag)),
    ];
    show::one(out, &account, id(&account.name), rows)
}

fn row(account: &Account) -> Vec<String> {
    vec![
        id(&account.name).to_owned(),
        id(&account.provider).to_owned(),
        state(account),
        hint(&account.key_hint),
        account.origin.clone(),
        account.display_name.clone(),
    ]
}

pub(super) fn state(account: &Account) -> String {
    word(account.state().as_str_name(), "ACCOUNT_STATE_")
}

/// Without the details of its last failure, which are binary.
fn plain(mut account: Account) -> Account {
    if let Some(error) = account.health.as_mut().and_then(|health| health.last_error.as_mut()) {
        error.details.clear();
    }
    account
}
