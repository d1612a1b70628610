#[cfg(test)]
use std::time::Duration;

use mediary_domain::{Capability, ChatCall, Kind};
use mediary_proto::v1::{
    Model, ModelAvailability, ModelLifecycle, ProviderHealth, ProviderKind, price::Rate,
};
use mediary_store::RegistryRows;
use mediary_store_sqlite::{Settings, SqliteStore};

use super::*;
use crate::{
    access::Role,
    clock::{Clock, Steady},
    config::{Environment, VaultSection},
    provider::{CallContext, ChatStream, Provider},
    registry::{Base, Rows, Snapshot},
    routing::Limits,
    service::listing::{FieldKind, Listing, Row, Value},
    vault::{Readable, Vault},
};

struct Silent;

#[async_trait::async_trait]
impl Provider for Silent {
    fn offers(&self) -> &[Capability] {
        &[]
    }

    async fn chat(&self, _: &CallContext, _: &ChatCall) -> Result<ChatStream> {
        Err(Error::bug("nobody calls in these tests"))
    }
}

const PROVIDER: &str = r#"
    id = "attic"
    display_name = "Attic"
    dialect = "openai_chat"
    kind = "local"
    base_uri = "http://attic.test/v1"
    documentation_uri = "https://attic.test/docs"
    auth = { required = false, key_env = ["ATTIC_KEY"], base_uri_env = ["ATTIC_URL"] }"#;

const MODELS: &str = r#"
    [[models]]
    id = "old"
    provider_model_id = "Attic/Old"
    capabilities = ["text-to-text"]
    input_kinds = ["text"]
    output_kinds = ["text"]
    context_tokens = 1000
    lifecycle = "retired"
    replacement = "new"

    [[models]]
    id = "new"
    provider_model_id = "Attic/New"
    display_name = "Zebra"
    capabilities = ["image-to-text", "text-embedding"]
    input_kinds = ["text", "image"]
    output_kinds = ["text", "vector"]
    context_tokens = 2000
    features = ["streaming"]
    aliases = ["fresh"]
    prices = [
      { unit = "input-token", micro_usd_per_million = 3 },
      { unit = "input-token", micro_usd_per_million = 2, effective = "2026-01-31", source = "s" },
    ]

    [[models]]
    id = "plain"
    provider_model_id = "Attic/Plain"
    capabilities = ["text-to-text"]
    input_kinds = ["text"]
    output_kinds = ["text"]"#;

/// The built-in catalog and an attic of our own, with these variables set.
fn anybody() -> Caller {
    Caller::anonymous("loopback", Role::Viewer)
}

fn api(environment: &[(&str, &str)]) -> ModelApi {
    let folder = tempfile::tempdir().unwrap();
    for (kind, text) in [("providers", PROVIDER), ("models", MODELS)] {
        std::fs::create_dir(folder.path().join(kind)).unwrap();
        std::fs::write(folder.path().join(kind).join("attic.toml"), text).unwrap();
    }
    let environment: Environment = environment.iter().copied().collect();
    let rows = Rows {
        folder: Some(folder.path()),
        accounts: &[],
        environment: &environment,
        idle_timeout: Duration::from_secs(1),
    };
    let vault = VaultSection::default();
    let readable = Readable::new(environment.clone(), &vault);
    let vault = Vault::new(&vault, &[9; 32], Clock::system());
    let base = Base::read(&rows, vault, readable, Box::new(|_, _| Ok(Arc::new(Silent)))).unwrap();
    let (snapshot, complaints) = base.with(&RegistryRows::default(), &Snapshot::default());
    assert_eq!(complaints, []);
    let pages = PageTokens::new(&[7; 32], Clock::system());
    ModelApi::new(
        Registry::new(snapshot),
        accounts(),
        Learned::default(),
        Arc::new(pages),
        Clock::system(),
        false,
    )
}

/// None of them is ever limited.
fn accounts() -> Accounts {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(SqliteStore::open(Settings::new(folder.path()))).unwrap();
    let clock = Clock::system();
    let limits = Limits::new(Arc::new(store), Steady::new(clock.clone(), None));
    Accounts::new(clock, limits, true).0
}

fn names(api: &ModelApi, parent: &str, filter: &str, order_by: &str) -> Vec<String> {
    let request = ListModelsRequest {
        parent: parent.to_owned(),
        filter: filter.to_owned(),
        order_by: order_by.to_owned(),
        page_size: 1_000,
        ..ListModelsRequest::default()
    };
    let models = api.models(&anybody(), &request).unwrap().models;
    models.into_iter().map(|model| model.name.rsplit('/').next().unwrap().to_owned()).collect()
}

fn model(api: &ModelApi, name: &str) -> Result<Model> {
    let request = GetModelRequest { name: name.to_owned() };
    api.model(&request).map(|response| response.model.unwrap())
}

#[test]
fn all_capabilities_are_listed_by_id_with_the_models_that_could_serve_them() {
    let list = |environment: &[(&str, &str)]| {
        let request = ListCapabilitiesRequest { page_size: 100, ..Default::default() };
        api(environment).capabilities(&anybody(), &request).unwrap().capabilities
    };
    let capabilities = list(&[("ATTIC_URL", "http://attic.test")]);
    assert_eq!(capabilities.len(), 16);
    assert!(capabilities.is_sorted_by_key(|one| one.id.clone()));
    let embedding = capabilities.iter().find(|one| one.id == "text-embedding").unwrap();
    assert_eq!(embedding.output_kinds, ["vector"]);
    let without = list(&[]);
    let usable = |list: &[mediary_proto::v1::Capability], id: &str| {
        list.iter().find(|one| one.id == id).unwrap().models_usable
    };
    // The retired one does not count.
    for id in ["text-to-text", "text-embedding"] {
        assert_eq!(usable(&capabilities, id) - usable(&without, id), 1, "{id}");
    }
}

#[test]
fn a_provider_tells_what_it_can_do_and_what_would_configure_it() {
    let get = |environment: &[(&str, &str)]| {
        let request = GetProviderRequest { name: "providers/attic".to_owned() };
        api(environment).provider(&anybody(), &request).unwrap().provider.unwrap()
    };
    let provider = get(&[]);
    assert_eq!(provider.name, "providers/attic");
    assert_eq!(provider.protocol, "openai-chat");
    assert_eq!(provider.kind(), ProviderKind::Local);
    assert_eq!(provider.health(), ProviderHealth::Unknown);
    assert_eq!(provider.capabilities, ["image-to-text", "text-embedding", "text-to-text"]);
    assert_eq!(provider.required_env, ["ATTIC_URL"]);
    assert_eq!((provider.configured, provider.accounts_usable), (false, 0));
    assert_eq!(
        [provider.base_uri, provider.auth_scheme, provider.protocol_settings_json],
        ["", "", ""]
    );
    let configured = get(&[("ATTIC_URL", "http://attic.test")]);
    assert_eq!((configured.configured, configured.accounts_usable), (true, 1));
    assert_eq!(configured.etag, provider.etag);
    assert!(provider.etag.starts_with('"') && provider.etag.ends_with('"'));
}

#[test]
fn providers_are_found_by_what_they_are() {
    let api = api(&[("ATTIC_URL", "http://attic.test")]);
    let list = |filter: &str| {
        let request = ListProvidersRequest { filter: filter.to_owned(), ..Default::default() };
        let providers = api.providers(&anybody(), &request).unwrap().providers;
        providers.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    assert!(list("").len() > 20);
    assert!(list("").is_sorted());
    let attic = ["providers/attic"];
    let both = ["providers/attic", "providers/sandbox"];
    assert_eq!(list("capabilities:text-embedding AND configured = true"), both);
    assert_eq!(list("display_name = Attic AND kind = LOCAL AND health = UNKNOWN"), attic);
    assert_eq!(list("protocol = anthropic"), ["providers/anthropic"]);
    assert!(list("kind = LOCAL").contains(&"providers/llama-cpp".to_owned()));
    assert!(list("capabilities:text-to-text").contains(&"providers/llama-cpp".to_owned()));
}

#[test]
fn a_model_is_shown_whole_and_a_retired_one_too() {
    let api = api(&[("ATTIC_URL", "http://attic.test")]);
    let new = model(&api, "providers/attic/models/new").unwrap();
    assert_eq!(new.display_name, "Zebra");
    assert_eq!(new.output_kinds, ["text", "vector"]);
    assert_eq!(new.availability(), ModelAvailability::Usable);
    assert_eq!((new.local, new.enabled), (true, Some(true)));
    let prices: Vec<_> = new.prices.iter().map(|one| (one.rate, one.effective_time)).collect();
    assert_eq!(prices[0], (Some(Rate::MicroUsdPerMillion(3)), None));
    assert_eq!(prices[1].1.unwrap().seconds, 1_769_817_600);
    let old = model(&api, "providers/attic/models/old").unwrap();
    assert_eq!(old.lifecycle(), ModelLifecycle::Retired);
    assert_eq!(old.replacement, "providers/attic/models/new");
    assert_eq!(old.availability(), ModelAvailability::NoAccount);
    assert_ne!(old.etag, new.etag);
}

#[test]
fn models_are_filtered_and_ordered_as_the_contract_says() {
    let api = api(&[]);
    let attic = |filter: &str, order_by: &str| names(&api, "providers/attic", filter, order_by);
    assert_eq!(attic("", ""), ["new", "old", "plain"]);
    assert_eq!(attic("", "name desc"), ["plain", "old", "new"]);
    assert_eq!(attic("", "display_name"), ["new", "old", "plain"]);
    assert_eq!(attic("", "context_tokens desc"), ["new", "old", "plain"]);
    assert_eq!(attic("", "context_tokens"), ["plain", "old", "new"]);
    assert_eq!(attic("", "update_time desc"), ["new", "old", "plain"]);
    for (filter, found) in [
        ("capability:\"text-to-text\" AND local = true", vec!["old", "plain"]),
        ("capabilities:text-embedding", vec!["new"]),
        ("output_kinds:vector", vec!["new"]),
        ("input_kinds:image OR aliases:fresh", vec!["new"]),
        ("lifecycle = RETIRED", vec!["old"]),
        ("lifecycle != RETIRED AND -features:streaming", vec!["plain"]),
        ("context_tokens > 1000", vec!["new"]),
        ("availability = NO_ACCOUNT AND origin = CONFIG", vec!["new", "old", "plain"]),
        ("provider_model_id = Attic/N*", vec!["new"]),
        ("provider_model_id = attic/n*", vec![]),
        ("provider_model_id:attic/p OR name = \"*/old\"", vec!["old", "plain"]),
        ("family:*", vec![]),
    ] {
        assert_eq!(attic(filter, ""), found, "{filter}");
    }
    assert!(names(&api, "providers/-", "", "").len() > 50);
}

#[test]
fn every_page_of_the_whole_catalog_fits_to_the_next() {
    let api = api(&[]);
    let mut request = ListModelsRequest {
        parent: "providers/-".to_owned(),
        order_by: "context_tokens desc".to_owned(),
        page_size: 7,
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = api.models(&anybody(), &request).unwrap();
        seen.extend(page.models.into_iter().map(|model| model.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), api.registry.now().models.len());
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), api.registry.now().models.len());
}

#[test]
fn what_is_misnamed_is_refused_and_what_is_unknown_is_not_found() {
    let api = api(&[]);
    let list = |parent: &str| {
        let request = ListModelsRequest { parent: parent.to_owned(), ..Default::default() };
        api.models(&anybody(), &request).unwrap_err()
    };
    let get = |name: &str| {
        api.provider(&anybody(), &GetProviderRequest { name: name.to_owned() }).unwrap_err()
    };
    for name in
        ["", "attic", "providers/", "providers/a/b", &format!("providers/{}", "x".repeat(999))]
    {
        assert_eq!((list(name).kind(), get(name).kind()), (Kind::FieldInvalid, Kind::FieldInvalid));
        assert_eq!(list(name).violations()[0].field, "parent");
    }
    assert_eq!(get("providers/-").kind(), Kind::FieldInvalid);
    for error in [list("providers/nobody"), get("providers/nobody")] {
        assert_eq!(error.resource().unwrap().kind, "mediary.v1.Provider");
    }
    for name in ["", "new", "providers/attic", "providers//models/x", "providers/attic/models/"] {
        assert_eq!(model(&api, name).unwrap_err().kind(), Kind::FieldInvalid, "{name}");
    }
    for name in ["providers/attic/models/x", "providers/llama-cpp/models/Any/Name:7b"] {
        let error = model(&api, name).unwrap_err();
        assert_eq!(error.resource().unwrap().kind, "mediary.v1.Model", "{name}");
    }
}

#[test]
fn every_field_of_a_list_has_a_value() {
    let api = api(&[]);
    let snapshot = api.registry.now();
    let provider = rows::provider(&snapshot, "attic").unwrap();
    let model = rows::model(&snapshot, "providers/attic/models/new").unwrap();
    assert_whole(&rows::PROVIDERS, &provider);
    assert_whole(&rows::MODELS, &model);
    for capability in rows::capabilities(&snapshot) {
        assert_whole(&rows::CAPABILITIES, &capability);
    }
}

fn assert_whole(listing: &Listing, row: &impl Row) {
    let filtered = listing.filter.iter().map(|field| field.name);
    for field in filtered.chain(listing.order.iter().copied()) {
        let is_there = row.value(field, None) != Value::Missing;
        assert!(is_there || field == "update_time", "{field}");
    }
}

#[test]
fn every_word_of_a_filter_is_one_of_the_contract() {
    let is_known = |full: &str| {
        use mediary_proto::v1::{self as pb};
        pb::ProviderKind::from_str_name(full).is_some()
            || pb::ProviderHealth::from_str_name(full).is_some()
            || pb::ModelLifecycle::from_str_name(full).is_some()
            || pb::ModelAvailability::from_str_name(full).is_some()
            || pb::ModelOrigin::from_str_name(full).is_some()
    };
    for field in rows::PROVIDERS.filter.iter().chain(rows::MODELS.filter) {
        if let FieldKind::Word { prefix, words } = field.kind {
            for word in words {
                assert!(is_known(&format!("{prefix}{word}")), "{prefix}{word}");
            }
        }
    }
}
