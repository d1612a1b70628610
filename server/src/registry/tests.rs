#[cfg(test)]
use std::{sync::Arc, time::Duration};

use mediary_domain::{Capability, ChatCall, Error, Result, Target};
use mediary_store::{
    Account as Stored, AccountState, CatalogKey, CatalogRow, RecipeKey, RecipeRow, RegistryRows,
    Route, Secret as Kept, Stamp, Version,
};

use super::*;
use crate::{
    clock::Clock,
    config::{AccountSection, Environment, Secret, VaultSection},
    provider::{CallContext, ChatStream},
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

/// The built-in rows, with these variables and an account `main` at openai.
fn base(variables: &[(&str, &str)]) -> Base {
    let environment: Environment = variables.iter().copied().collect();
    let accounts = [AccountSection {
        id: "main".to_owned(),
        provider: "openai".to_owned(),
        api_key: Some(Secret::new("sk-of-the-configuration".to_owned())),
        base_uri: None,
        settings: Default::default(),
    }];
    let rows = Rows {
        folder: None,
        accounts: &accounts,
        environment: &environment,
        idle_timeout: Duration::from_secs(1),
    };
    let vault = VaultSection::default();
    let readable = Readable::new(environment.clone(), &vault);
    let vault = Vault::new(&vault, &[9; 32], Clock::system());
    let build = |dialect: &str, _: &ProviderRow| match dialect {
        "latin" => Err("nobody speaks it".to_owned()),
        _ => Ok(Arc::new(Silent) as Arc<dyn Provider>),
    };
    Base::read(&rows, vault, readable, Box::new(build)).unwrap()
}

fn at(version: u64) -> Stamp {
    Stamp { version: Version(version), ..Stamp::default() }
}

fn provider(id: &str, version: u64, json: &str) -> CatalogRow {
    CatalogRow {
        key: CatalogKey::Provider(id.to_owned()),
        origin: "manual".to_owned(),
        json: json.to_owned(),
        stamp: at(version),
    }
}

fn model(provider: &str, id: &str, version: u64, json: &str) -> CatalogRow {
    let key = CatalogKey::Model { provider: provider.to_owned(), id: id.to_owned() };
    CatalogRow { key, ..self::provider("", version, json) }
}

fn account(id: &str, origin: &str, settings: &str) -> Stored {
    Stored {
        id: id.to_owned(),
        provider: "openai".to_owned(),
        display_name: "Ours".to_owned(),
        secret: Kept::None,
        key_hint: String::new(),
        key_fingerprint: String::new(),
        state: AccountState::Active,
        origin: origin.to_owned(),
        settings_json: settings.to_owned(),
        stamp: at(1),
    }
}

const PROVIDER: &str = r#"{"id":"x","display_name":"First","dialect":"openai_chat"}"#;
const MODEL: &str = r#"{"id":"x","provider_model_id":"First","capabilities":["text-to-text"],
    "input_kinds":["text"],"output_kinds":["text"]}"#;

#[test]
fn the_last_good_version_stays_where_a_later_one_cannot_be_taken() {
    let base = base(&[]);
    let route = |json: &str, version| Route {
        id: "work".to_owned(),
        origin: "manual".to_owned(),
        json: json.to_owned(),
        stamp: at(version),
    };
    let target = r#"{"task":"work","capability":"text-to-text","target":{"model":"sandbox-text"}}"#;
    let good = RegistryRows {
        catalog: vec![provider("acme", 1, PROVIDER), model("acme", "m", 2, MODEL)],
        accounts: vec![account("mine", "manual", "{\"weight\":2.0}")],
        routes: vec![route(target, 3)],
        ..RegistryRows::default()
    };
    let (first, complaints) = base.with(&good, &Snapshot::default());
    assert_eq!(complaints, []);
    assert_eq!(first.providers["acme"].row.display_name, "First");

    let bad = RegistryRows {
        catalog: vec![
            provider("acme", 5, &PROVIDER.replace("openai_chat", "latin")),
            model("acme", "m", 6, "{}"),
        ],
        accounts: vec![account("mine", "manual", "{\"colour\":1}")],
        routes: vec![route("[]", 7)],
        ..RegistryRows::default()
    };
    let (second, complaints) = base.with(&bad, &first);
    let mut told: Vec<&str> = complaints.iter().map(|one| one.name.as_str()).collect();
    told.sort_unstable();
    let named = ["accounts/mine", "providers/acme", "providers/acme/models/m", "routes/work"];
    assert_eq!(told, named);
    assert!(complaints.iter().all(|one| !one.is_fatal));
    let entry = &second.providers["acme"];
    assert_eq!(
        (entry.row.display_name.as_str(), entry.row.dialect.as_str()),
        ("First", "openai_chat")
    );
    // Shown with its present version, so that it can be changed.
    assert_eq!(entry.row.stamp, Some(at(5)));
    let model = &second.models["providers/acme/models/m"];
    assert_eq!((model.provider_model_id.as_str(), model.stamp), ("First", Some(at(6))));
    assert_eq!(second.accounts["mine"].settings.weight, Some(2.0));
    assert_eq!(second.routes["work"].target, Target::Model("sandbox-text".to_owned()));

    // A process that never saw the good ones has what lies below.
    let (fresh, _) = base.with(&bad, &Snapshot::default());
    assert!(!fresh.providers.contains_key("acme") && fresh.routes.is_empty());
    let over =
        RegistryRows { catalog: vec![provider("openai", 1, "{}")], ..RegistryRows::default() };
    let (over, _) = base.with(&over, &Snapshot::default());
    assert_eq!(over.providers["openai"].row.display_name, "OpenAI");
}

#[test]
fn stronger_accounts_come_first_and_an_overlay_keeps_the_key_below() {
    let base = base(&[("OPENAI_API_KEY", "sk-of-the-environment")]);
    let rows = RegistryRows {
        accounts: vec![
            account("main", "config", "{\"allowed_models\":[\"providers/openai/models/m\"]}"),
            account("mine", "manual", ""),
            account("was-there", "config", ""),
        ],
        ..RegistryRows::default()
    };
    let (snapshot, complaints) = base.with(&rows, &Snapshot::default());
    let accounts = &snapshot.providers["openai"].accounts;
    let ids: Vec<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
    assert_eq!(ids, ["main", "mine", "was-there", "openai-env"]);
    let keys: Vec<Option<&str>> = accounts.iter().map(|account| account.secret()).collect();
    let [config, environment] = ["sk-of-the-configuration", "sk-of-the-environment"].map(Some);
    assert_eq!(keys, [config, None, None, environment]);
    assert_eq!((accounts[0].origin, accounts[1].origin), (Origin::Config, Origin::Manual));
    assert!(!accounts[2].is_usable(), "{:?}", accounts[2].fault);
    assert_eq!(complaints.len(), 1);
    assert_eq!(snapshot.accounts.len(), 5, "{:?}", snapshot.accounts.keys());

    let (without, _) = base.with(&RegistryRows::default(), &snapshot);
    let ids: Vec<_> = without.providers["openai"].accounts.iter().map(|one| &one.id).collect();
    assert_eq!(ids, ["main", "openai-env"]);
    assert!(without.accounts["main"].settings.allowed_models.is_empty());
}

#[test]
fn models_below_follow_their_provider_to_another_dialect() {
    let base = base(&[]);
    let rows = RegistryRows {
        catalog: vec![provider(
            "groq",
            1,
            r#"{"id":"groq","display_name":"Groq","dialect":"anthropic"}"#,
        )],
        ..RegistryRows::default()
    };
    let (snapshot, complaints) = base.with(&rows, &Snapshot::default());
    assert_eq!(complaints, []);
    let mut models = snapshot.models.values().filter(|model| model.provider == "groq").peekable();
    assert!(models.peek().is_some());
    assert!(models.all(|model| model.dialect == "anthropic"));
}

#[test]
fn every_row_of_the_catalog_is_the_same_after_it_was_kept() {
    let base = base(&[]);
    for row in base.providers.values() {
        let json = serde_json::to_string(row).unwrap();
        let back: ProviderRow = serde_json::from_str(&json).unwrap();
        let back = ProviderRow { idle_timeout: row.idle_timeout, ..back };
        assert_eq!(format!("{back:?}"), format!("{row:?}"), "{json}");
    }
    for row in base.models.values() {
        let json = serde_json::to_string(row).unwrap();
        let back: ModelRow = serde_json::from_str(&json).unwrap();
        let back = back.placed(&base.providers[&row.provider]);
        assert_eq!(format!("{back:?}"), format!("{row:?}"), "{json}");
    }
}

fn preset(id: &str, origin: &str, json: &str) -> RecipeRow {
    RecipeRow {
        key: RecipeKey::Preset(id.to_owned()),
        origin: origin.to_owned(),
        json: json.to_owned(),
        stamp: at(3),
    }
}

#[test]
fn built_in_presets_are_whole_and_one_that_was_deleted_stays_so() {
    let base = base(&[]);
    let (snapshot, complaints) = base.with(&RegistryRows::default(), &Snapshot::default());
    assert_eq!(complaints, []);
    assert!(snapshot.presets.values().all(|row| row.built_in && row.stamp.is_none()));
    for row in snapshot.presets.values() {
        let json = serde_json::to_string(&**row).unwrap();
        let back: PresetRow = serde_json::from_str(&json).unwrap();
        let back = PresetRow { origin: row.origin, built_in: true, ..back };
        assert_eq!(back, **row, "{json}");
    }

    let own = r#"{"id":"x","capability":"text-to-text","strategy":"sequential",
        "members":[{"model":"providers/sandbox/models/sandbox-text"}]}"#;
    let rows = |recipes| RegistryRows { recipes, ..RegistryRows::default() };
    let (over, complaints) = base.with(
        &rows(vec![
            preset("text-simple", DELETED, "{}"),
            preset("text-adaptive", "manual", own),
            preset("gone-before", DELETED, "{}"),
        ]),
        &snapshot,
    );
    assert_eq!(complaints, []);
    assert!(!over.presets.contains_key("text-simple"));
    let changed = &over.presets["text-adaptive"];
    assert_eq!((changed.origin, changed.built_in), (Origin::Manual, true));
    assert_eq!(changed.strategy, Strategy::Sequential);

    // What cannot be read leaves the last good one; a member that is gone is told.
    let odd = own.replace("sandbox-text", "sandbox-tune");
    let bad = [preset("text-adaptive", "manual", "{"), preset("odd", "manual", &odd)];
    let (kept, complaints) = base.with(&rows(bad.to_vec()), &over);
    assert_eq!(kept.presets["text-adaptive"].strategy, Strategy::Sequential);
    assert!(kept.presets.contains_key("odd") && kept.presets.contains_key("text-simple"));
    let named: Vec<&str> = complaints.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(named, ["presets/text-adaptive", "presets/odd"]);
    assert!(complaints.iter().all(|one| !one.is_fatal));
}
