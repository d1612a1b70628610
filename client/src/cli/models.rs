//! `models`: what could answer.
//!
//! Owns: listing, showing and finding models. Leaves: adding and changing them (`change`), having
//! the providers list theirs (`refresh`), and the price map of all (`import`).

mod change;
mod import;
mod refresh;

use clap::{Args, Subcommand};
use futures::TryStreamExt as _;
use mediary_proto::v1;

use super::{
    draft::{NONE, bare},
    out::Out,
    problem::Problem,
    show::{self, Columns, ListArgs, WHOLE_PAGE, quote},
    table::{id, number, word},
};
use crate::Client;

const COLUMNS: Columns<v1::Model> = Columns {
    list: "models",
    header: &["PROVIDER", "MODEL", "STATE", "CONTEXT", "CAPABILITIES"],
    row,
    // The id alone may be that of several.
    id: |model| &model.name,
};

/// Options of `models`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ModelsArgs {
    #[command(flatten)]
    list: ModelListArgs,
    #[command(subcommand)]
    command: Option<ModelsCommand>,
}

#[derive(Debug, Clone, Default, Args)]
struct ModelListArgs {
    /// Only models that can do this, such as text-to-image
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
    /// Only models of this provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum ModelsCommand {
    /// List models, as without a command
    List(ModelListArgs),
    /// Show one model
    Show {
        /// Its name, id or alias
        name: String,
    },
    /// Add a model to a provider
    Add(Box<change::AddArgs>),
    /// Change a model; one of the built-in catalog is overlaid, not lost
    Update(Box<change::UpdateArgs>),
    /// Delete a model, or what was laid over a built-in one
    Delete(change::DeleteArgs),
    /// Read the providers' own lists: new models are added, those that are gone are retired
    Refresh(refresh::RefreshArgs),
    /// Take over prices, sizes and features from the community's price map, LiteLLM's JSON file
    ImportPrices(import::ImportArgs),
}

/// `models`
pub(super) async fn run(client: &Client, out: &Out, args: ModelsArgs) -> Result<(), Problem> {
    match args.command {
        None => list(client, out, &args.list).await,
        Some(ModelsCommand::List(args)) => list(client, out, &args).await,
        Some(ModelsCommand::Show { name }) => show(out, &find(client, &name).await?),
        Some(ModelsCommand::Add(args)) => change::add(client, out, *args).await,
        Some(ModelsCommand::Update(args)) => change::update(client, out, *args).await,
        Some(ModelsCommand::Delete(args)) => change::delete(client, out, args).await,
        Some(ModelsCommand::Refresh(args)) => refresh::run(client, out, args).await,
        Some(ModelsCommand::ImportPrices(args)) => import::run(client, out, args).await,
    }
}

async fn list(client: &Client, out: &Out, args: &ModelListArgs) -> Result<(), Problem> {
    let (parent, filter) = args.narrowed();
    let fetch = async |page_size, page_token| {
        let (parent, filter) = (parent.clone(), filter.clone());
        let request =
            v1::ListModelsRequest { parent, page_size, page_token, filter, ..Default::default() };
        let page = client.models_page(request).await?;
        Ok((page.models, page.next_page_token))
    };
    show::list(out, &COLUMNS, &args.list.read(fetch).await?)
}

/// The one model with this name, id or alias.
pub(super) async fn find(client: &Client, name: &str) -> Result<v1::Model, Problem> {
    if name.starts_with("providers/") {
        return Ok(client.get_model(name).await?);
    }
    let is_meant = |model: &v1::Model| {
        id(&model.name) == name
            || model.provider_model_id == name
            || model.aliases.iter().any(|alias| alias == name)
    };
    let mut meant: Vec<_> = all(client).await?.into_iter().filter(is_meant).collect();
    match (meant.pop(), meant.as_slice()) {
        (None, _) => Err(Problem::Absent(format!("there is no model `{name}`"))),
        (Some(model), []) => Ok(model),
        (Some(model), others) => {
            let names = others.iter().chain([&model]).map(|model| model.name.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            Err(Problem::Usage(format!("`{name}` may be any of {names}")))
        }
    }
}

/// Resource names of models that are named by id, alias, or `PROVIDER/-` for all of a provider.
pub(super) async fn full_names(client: &Client, names: &[String]) -> Result<Vec<String>, Problem> {
    let mut full = Vec::with_capacity(names.len());
    for name in names {
        full.push(match name.strip_suffix("/-") {
            Some(provider) if !provider.contains('/') => format!("providers/{provider}/models/-"),
            None if name != NONE && !name.starts_with("providers/") => {
                find(client, name).await?.name
            }
            _ => name.clone(),
        });
    }
    Ok(full)
}

async fn all(client: &Client) -> Result<Vec<v1::Model>, Problem> {
    let request = v1::ListModelsRequest { page_size: WHOLE_PAGE, ..Default::default() };
    Ok(client.list_models(request).try_collect().await?)
}

impl ModelListArgs {
    /// The parent and the filter.
    fn narrowed(&self) -> (String, String) {
        let provider = self.provider.as_deref().map_or("-", id);
        let capability = self.capability.as_ref();
        let capability = capability.map(|one| format!("capabilities:{}", quote(one)));
        (format!("providers/{provider}"), self.list.filter_and(capability))
    }
}

fn show(out: &Out, model: &v1::Model) -> Result<(), Problem> {
    let rows = [
        ("name", model.name.clone()),
        ("provider's id", model.provider_model_id.clone()),
        ("title", model.display_name.clone()),
        ("description", model.description.clone()),
        ("aliases", model.aliases.join(", ")),
        ("state", availability(model)),
        ("capabilities", model.capabilities.join(", ")),
        ("features", model.features.join(", ")),
        ("from", model.input_kinds.join(", ")),
        ("to", model.output_kinds.join(", ")),
        ("context tokens", number(model.context_tokens)),
        ("output tokens", number(model.max_output_tokens)),
        ("use instead", model.replacement.clone()),
    ];
    let prices = model.prices.iter().map(|one| ("price", price(one)));
    let version = [("etag", bare(&model.etag))];
    show::one(out, model, &model.name, rows.into_iter().chain(prices).chain(version))
}

fn row(model: &v1::Model) -> Vec<String> {
    vec![
        provider_of(&model.name).to_owned(),
        id(&model.name).to_owned(),
        availability(model),
        number(model.context_tokens),
        model.capabilities.join(", "),
    ]
}

fn availability(model: &v1::Model) -> String {
    match model.lifecycle() {
        v1::ModelLifecycle::Retired => "retired".to_owned(),
        v1::ModelLifecycle::Deprecated => format!("{}, deprecated", usable(model)),
        v1::ModelLifecycle::Active | v1::ModelLifecycle::Unspecified => usable(model),
    }
}

fn usable(model: &v1::Model) -> String {
    word(model.availability().as_str_name(), "MODEL_AVAILABILITY_")
}

fn price(price: &v1::Price) -> String {
    let rate = match price.rate {
        Some(v1::price::Rate::MicroUsdPerMillion(micro)) => format!("${} per million", usd(micro)),
        Some(v1::price::Rate::MicroUsdPerUnit(micro)) => format!("${} each", usd(micro)),
        None => return String::new(),
    };
    match &price.effective_time {
        Some(time) => format!("{} {rate}, from {time}", price.unit),
        None => format!("{} {rate}", price.unit),
    }
}

fn usd(micro: i64) -> f64 {
    micro as f64 / 1e6
}

/// Provider id of a model's resource name.
fn provider_of(name: &str) -> &str {
    name.split('/').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_become_one_filter() {
        let args = ModelListArgs {
            capability: Some("text-to-video".into()),
            provider: Some("providers/kling".into()),
            list: ListArgs {
                filter: Some("local = true OR family = \"x\"".into()),
                all_pages: false,
            },
        };
        let (parent, filter) = args.narrowed();
        assert_eq!(parent, "providers/kling");
        assert_eq!(filter, "(local = true OR family = \"x\") AND capabilities:\"text-to-video\"");
    }
}
