//! `models`, `providers`, `capabilities`: what there is.

use clap::{Args, Subcommand};
use futures::TryStreamExt as _;
use mediary_proto::v1;
use serde_json::json;

use super::{
    json,
    out::{Out, Tone},
    problem::Problem,
    table::{id, number, table, word},
};
use crate::Client;

/// Models of one page.
const PAGE: i32 = 100;
/// Most that a page can hold: for whoever wants all.
const WHOLE_PAGE: i32 = 1000;

/// Options of `models`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ModelsArgs {
    /// Only models that can do this, such as text-to-image
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
    /// Only models of this provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Only models that fit, such as 'local = true AND features:"tools"'
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// All of them, not only the first 100
    #[arg(long)]
    all_pages: bool,
    #[command(subcommand)]
    command: Option<ModelsCommand>,
}

#[derive(Debug, Clone, Subcommand)]
enum ModelsCommand {
    /// Show one model
    Show {
        /// Its name, id or alias
        name: String,
    },
}

/// `models`
pub(super) async fn models(client: &Client, out: &Out, args: ModelsArgs) -> Result<(), Problem> {
    if let Some(ModelsCommand::Show { name }) = &args.command {
        return show(client, out, name).await;
    }
    let request = args.request();
    let (models, more) = if args.all_pages {
        (client.list_models(request).try_collect::<Vec<_>>().await?, false)
    } else {
        let page = client.models_page(request).await?;
        (page.models, !page.next_page_token.is_empty())
    };

    if out.json {
        return out.json(&json!({ "models": json::list("Model", &models), "more": more }));
    }
    let rows = models.iter().map(|model| {
        vec![
            provider_of(&model.name).to_owned(),
            id(&model.name).to_owned(),
            availability(model),
            number(model.context_tokens),
            model.capabilities.join(", "),
        ]
    });
    out.line(&table(out, &["PROVIDER", "MODEL", "STATE", "CONTEXT", "CAPABILITIES"], rows))?;
    if more {
        out.note(Tone::Aside, "there are more: --all-pages lists them");
    }
    Ok(())
}

/// `providers`
pub(super) async fn providers(client: &Client, out: &Out) -> Result<(), Problem> {
    let providers = all_providers(client).await?;
    if out.json {
        return out.json(&json!({ "providers": json::list("Provider", &providers) }));
    }
    let rows = providers.iter().map(|provider| {
        let state =
            if provider.configured { health(provider) } else { "not configured".to_owned() };
        vec![
            id(&provider.name).to_owned(),
            provider.display_name.clone(),
            state,
            word(provider.kind().as_str_name(), "PROVIDER_KIND_"),
            provider.capabilities.join(", "),
        ]
    });
    out.line(&table(out, &["PROVIDER", "NAME", "STATE", "WHERE", "CAPABILITIES"], rows))
}

/// `capabilities`
pub(super) async fn capabilities(client: &Client, out: &Out) -> Result<(), Problem> {
    let request = v1::ListCapabilitiesRequest { page_size: WHOLE_PAGE, ..Default::default() };
    let all: Vec<_> = client.list_capabilities(request).try_collect().await?;
    if out.json {
        return out.json(&json!({ "capabilities": json::list("Capability", &all) }));
    }
    let rows = all.iter().map(|one| {
        vec![
            one.id.clone(),
            one.input_kinds.join(", "),
            one.output_kinds.join(", "),
            one.models_usable.to_string(),
        ]
    });
    out.line(&table(out, &["CAPABILITY", "FROM", "TO", "USABLE MODELS"], rows))
}

/// Every provider, configured or not.
pub(super) async fn all_providers(client: &Client) -> Result<Vec<v1::Provider>, Problem> {
    let request = v1::ListProvidersRequest { page_size: WHOLE_PAGE, ..Default::default() };
    Ok(client.list_providers(request).try_collect().await?)
}

/// How a provider's calls went, in a word.
pub(super) fn health(provider: &v1::Provider) -> String {
    match provider.health() {
        v1::ProviderHealth::Unknown | v1::ProviderHealth::Unspecified => {
            "not called yet".to_owned()
        }
        known => word(known.as_str_name(), "PROVIDER_HEALTH_"),
    }
}

impl ModelsArgs {
    fn request(&self) -> v1::ListModelsRequest {
        let provider = self.provider.as_deref().map_or("-", id);
        let capability = self
            .capability
            .as_ref()
            .map(|capability| format!("capabilities:{}", quote(capability)));
        let filter = match (&self.filter, capability) {
            (Some(filter), Some(capability)) => format!("({filter}) AND {capability}"),
            (Some(filter), None) => filter.clone(),
            (None, capability) => capability.unwrap_or_default(),
        };
        v1::ListModelsRequest {
            parent: format!("providers/{provider}"),
            page_size: if self.all_pages { WHOLE_PAGE } else { PAGE },
            filter,
            ..Default::default()
        }
    }
}

async fn show(client: &Client, out: &Out, name: &str) -> Result<(), Problem> {
    let model = match name.starts_with("providers/") {
        true => client.get_model(name).await?,
        false => find(client, name).await?,
    };
    if out.json {
        return out.json(&json::message("Model", &model));
    }
    let (input, output) = (model.input_kinds.join(", "), model.output_kinds.join(", "));
    let mut rows = vec![
        ("name", model.name.clone()),
        ("provider's id", model.provider_model_id.clone()),
        ("title", model.display_name.clone()),
        ("description", model.description.clone()),
        ("aliases", model.aliases.join(", ")),
        ("state", availability(&model)),
        ("capabilities", model.capabilities.join(", ")),
        ("features", model.features.join(", ")),
        ("from", input),
        ("to", output),
        ("context tokens", number(model.context_tokens)),
        ("output tokens", number(model.max_output_tokens)),
        ("use instead", model.replacement.clone()),
    ];
    rows.extend(model.prices.iter().map(|one| ("price", price(one))));
    rows.retain(|(_, value)| !value.is_empty());
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    out.line(&table(out, &[], rows))
}

/// The one model with this id or alias.
async fn find(client: &Client, name: &str) -> Result<v1::Model, Problem> {
    let request = v1::ListModelsRequest { page_size: WHOLE_PAGE, ..Default::default() };
    let all: Vec<_> = client.list_models(request).try_collect().await?;
    let is_meant = |model: &v1::Model| {
        id(&model.name) == name
            || model.provider_model_id == name
            || model.aliases.iter().any(|alias| alias == name)
    };
    let mut meant: Vec<_> = all.into_iter().filter(is_meant).collect();
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

/// A text of the filter language.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_become_one_filter() {
        let args = ModelsArgs {
            capability: Some("text-to-video".into()),
            provider: Some("providers/kling".into()),
            filter: Some("local = true OR family = \"x\"".into()),
            all_pages: false,
            command: None,
        };
        let request = args.request();
        assert_eq!(request.parent, "providers/kling");
        assert_eq!(
            request.filter,
            "(local = true OR family = \"x\") AND capabilities:\"text-to-video\""
        );
    }
}
