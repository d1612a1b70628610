//! What exists, changed while the server runs: providers, models and accounts.

mod support;

use std::{fs, path::Path};

use futures::StreamExt as _;
use mediary_client::v1::{self, text_event::Kind};
use mediary_proto::admin as pb;
use mediary_store::{CatalogKey, CatalogRow, Change, Stamp, Store as _};
use mediary_store_sqlite::{Settings, SqliteStore};
use support::{
    House, Reply, Vendor,
    admin::{
        account, accounts, add_account, add_model, add_provider, add_route, catalog,
        change_account, is_replayed, model, provider_at, route, routes, the_account, to_route,
    },
    ask::{listen, question, said},
};
use tonic::{Code, Status};

const HELLO: &str = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n\
                     data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo!\"}}]}\n\n\
                     data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                     data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n\
                     data: [DONE]\n\n";
const KEY: &str = "sk-run-time-0123456789abcdef";
/// 32 bytes in base64.
const VAULT_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER_VAULT_KEY: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const REQUEST_ID: &str = "0198f2c4-7b1e-7c3a-9d55-2f4b8a6c1e90";

/// With a key to seal others with.
fn sealing() -> support::house::Plan {
    House::plan().env("MEDIARY__VAULT__KEY", VAULT_KEY)
}

/// `acme` with its model `m` and its account `acme-1` at a vendor that always says hello.
async fn with_acme(house: &House) -> Vendor {
    let vendor = Vendor::start().await;
    vendor.always(Reply::sse(HELLO));
    add_provider(house, "acme", provider_at(&vendor.url())).await;
    add_model(house, "acme", "m", model("Acme/M")).await;
    add_account(house, "acme-1", account("acme", KEY)).await;
    vendor
}

fn fields(status: &Status) -> Vec<String> {
    said(status).1.into_iter().map(|(field, _)| field).collect()
}

fn holds(folder: &Path, text: &str) -> Option<String> {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            if let Some(found) = holds(&entry, text) {
                return Some(found);
            }
        } else {
            let bytes = fs::read(&entry).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                return Some(entry.display().to_string());
            }
        }
    }
    None
}

#[tokio::test]
async fn what_is_added_while_streams_run_is_used_at_once_changed_and_removed() {
    let house = sealing().start();
    let vendor = Vendor::start().await;
    let options = [("sandbox".to_owned(), "{\"latency_ms\": 60000}".to_owned())].into();
    let parameters = v1::TextParameters { provider_options_json: options, ..Default::default() };
    let slow = v1::StreamTextRequest {
        parameters: Some(parameters),
        ..question("sandbox-text", "hello").into()
    };
    let mut running = house.client().stream(slow).await.unwrap();
    assert!(matches!(running.next().await.unwrap().unwrap().kind, Some(Kind::Started(_))));

    add_provider(&house, "acme", provider_at(&vendor.url())).await;
    let nobody = listen(&house, question("providers/acme/models/m", "hello")).await;
    assert_eq!(nobody.reason(), "RESOURCE_NOT_FOUND");
    add_model(&house, "acme", "m", model("Acme/M")).await;
    let keyless = listen(&house, question("providers/acme/models/m", "hello")).await;
    assert_eq!(keyless.reason(), "NO_USABLE_ACCOUNT");
    let made = add_account(&house, "acme-1", account("acme", KEY)).await;
    assert_eq!((made.key_hint.as_str(), made.state()), ("cdef", pb::AccountState::Active));
    add_route(&house, "greet", route("providers/acme/models/m", &[])).await;
    vendor.replies([Reply::sse(HELLO), Reply::sse(HELLO)]);
    for target in ["m", "Acme/M"] {
        let heard = listen(&house, question(target, "hello")).await;
        assert_eq!(heard.text(), "Hello!", "{target}: {heard:?}");
        assert_eq!(heard.finished().cost_pico_usd, 9 * 1_000_000 + 2 * 2_000_000);
    }
    let asked = vendor.last_asked();
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(asked.json()["model"], "Acme/M");

    // Changed: a price, the header that the provider wants, and the account is taken away.
    let free = v1::Model {
        name: "providers/acme/models/m".to_owned(),
        prices: Vec::new(),
        ..Default::default()
    };
    let mask = prost_types::FieldMask { paths: vec!["prices".to_owned()] };
    let request =
        pb::UpdateModelRequest { model: Some(free), update_mask: Some(mask), ..Default::default() };
    catalog(&house).update_model(request).await.unwrap();
    let with_header = v1::Provider {
        name: "providers/acme".to_owned(),
        protocol_settings_json: r#"{"headers": {"x-team": "blue"}}"#.to_owned(),
        ..Default::default()
    };
    let request = pb::UpdateProviderRequest { provider: Some(with_header), ..Default::default() };
    catalog(&house).update_provider(request).await.unwrap();
    vendor.replies([Reply::sse(HELLO)]);
    let by_route =
        v1::StreamTextRequest { target: Some(to_route("greet")), ..question("", "hello").into() };
    let heard = listen(&house, by_route).await;
    assert_eq!((heard.text().as_str(), heard.finished().cost_pico_usd), ("Hello!", 0));
    assert_eq!(vendor.last_asked().header("x-team"), Some("blue"));

    for (request, used_by) in
        [("providers/acme", "models/m"), ("providers/acme/models/m", "routes/greet")]
    {
        let refused = delete(&house, request, false).await.unwrap_err();
        assert_eq!(said(&refused).0, "RESOURCE_IN_USE");
        assert!(refused.message().contains(used_by), "{}", refused.message());
    }
    let request = pb::DeleteRouteRequest { name: "routes/greet".to_owned(), ..Default::default() };
    routes(&house).delete_route(request).await.unwrap();
    delete(&house, "providers/acme", true).await.unwrap();
    let gone = listen(&house, question("providers/acme/models/m", "hello")).await;
    assert_eq!(gone.reason(), "RESOURCE_NOT_FOUND");
    assert_eq!(the_account(&house, "acme-1").await.unwrap_err().code(), Code::NotFound);

    // The stream that ran all the while is none the wiser.
    drop(running);
    assert_eq!(listen(&house, question("sandbox-text", "hello")).await.terminals(), 1);
}

async fn delete(house: &House, name: &str, force: bool) -> Result<(), Status> {
    let name = name.to_owned();
    if name.contains("/models/") {
        let request = pb::DeleteModelRequest { name, force, ..Default::default() };
        catalog(house).delete_model(request).await.map(drop)
    } else {
        let request = pb::DeleteProviderRequest { name, force, ..Default::default() };
        catalog(house).delete_provider(request).await.map(drop)
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_and_the_key_stands_nowhere_in_clear() {
    let mut house = sealing().config("log.level = \"debug\"").start();
    let vendor = with_acme(&house).await;
    let listed = accounts(&house).list_accounts(pb::ListAccountsRequest::default()).await.unwrap();
    let got = the_account(&house, "acme-1").await.unwrap();
    let events = mediary_proto::admin::audit_service_client::AuditServiceClient::new(
        house.client().raw().transport(),
    )
    .list_audit_events(pb::ListAuditEventsRequest::default())
    .await
    .unwrap();
    let shown = format!("{listed:?}{got:?}{events:?}");
    assert!(!shown.contains(KEY) && shown.contains("acme-1"), "{shown}");
    assert_eq!(events.get_ref().audit_events.len(), 3, "{events:?}");

    house.kill_and_restart();

    assert_eq!(the_account(&house, "acme-1").await.unwrap(), got);
    let heard = listen(&house, question("providers/acme/models/m", "hello")).await;
    assert_eq!(heard.text(), "Hello!");
    let bearer = format!("Bearer {KEY}");
    assert_eq!(vendor.last_asked().header("authorization"), Some(bearer.as_str()));
    assert_eq!(holds(house.folder.path(), KEY), None);
    assert!(!house.log().contains(KEY), "{}", house.log());
}

#[tokio::test]
async fn the_former_vault_key_opens_what_it_sealed_and_is_needed_once() {
    let mut house = sealing().start();
    let vendor = with_acme(&house).await;
    let stands = async |house: &House| {
        let account = the_account(house, "acme-1").await.unwrap();
        (account.state(), account.health.and_then(|health| health.last_error))
    };

    house.set_env("MEDIARY__VAULT__KEY", OTHER_VAULT_KEY);
    house.kill_and_restart();
    let (state, error) = stands(&house).await;
    assert_eq!(state, pb::AccountState::Unusable);
    assert!(error.unwrap().message.contains("vault.former_key"));
    assert!(house.log().contains("accounts/acme-1"), "{}", house.log());
    let heard = listen(&house, question("providers/acme/models/m", "hello")).await;
    assert_eq!(heard.reason(), "NO_USABLE_ACCOUNT");

    house.set_env("MEDIARY__VAULT__FORMER_KEY", VAULT_KEY);
    house.kill_and_restart();
    assert_eq!(stands(&house).await, (pb::AccountState::Active, None));

    house.set_env("MEDIARY__VAULT__FORMER_KEY", "");
    house.kill_and_restart();
    assert_eq!(stands(&house).await, (pb::AccountState::Active, None));
    assert_eq!(listen(&house, question("providers/acme/models/m", "hello")).await.text(), "Hello!");
    let bearer = format!("Bearer {KEY}");
    assert_eq!(vendor.last_asked().header("authorization"), Some(bearer.as_str()));
}

#[tokio::test]
async fn without_a_vault_key_no_key_is_kept_and_a_reference_is() {
    let house = House::plan()
        .config("[vault]\nreadable_variables = [\"TEAM_*\"]")
        .env("TEAM_KEY", KEY)
        .env("OTHER_KEY", "sk-not-to-be-read")
        .start();
    let vendor = Vendor::start().await;
    vendor.always(Reply::sse(HELLO));
    add_provider(&house, "acme", provider_at(&vendor.url())).await;
    add_model(&house, "acme", "m", model("Acme/M")).await;
    let add = async |credential: pb::account::Credential| {
        let account = pb::Account {
            provider: "providers/acme".to_owned(),
            credential: Some(credential),
            ..Default::default()
        };
        let request = pb::CreateAccountRequest { account: Some(account), ..Default::default() };
        accounts(&house).create_account(request).await
    };
    use pb::account::Credential::{ApiKey, SecretRef};

    let refused = add(ApiKey(KEY.to_owned())).await.unwrap_err();
    assert_eq!(
        (refused.code(), said(&refused).0.as_str()),
        (Code::FailedPrecondition, "FEATURE_DISABLED")
    );
    for mend in ["openssl rand -base64 32", "MEDIARY__VAULT__KEY", "secret_ref"] {
        assert!(refused.message().contains(mend), "{}", refused.message());
    }
    // A variable that nobody opened, one of another provider, and any file.
    for reference in ["env:OTHER_KEY", "env:PATH", "env:OPENAI_API_KEY", "file:/etc/hostname", "x"]
    {
        let refused = add(SecretRef(reference.to_owned())).await.unwrap_err();
        assert_eq!(fields(&refused), ["account.secret_ref"], "{reference}");
    }
    let missing = add(SecretRef("env:TEAM_NOTHING".to_owned())).await.unwrap().into_inner();
    let missing = missing.account.unwrap();
    assert_eq!(missing.state(), pb::AccountState::Unusable);
    assert!(missing.health.unwrap().last_error.unwrap().message.contains("TEAM_NOTHING"));

    let made = add(SecretRef("env:TEAM_KEY".to_owned())).await.unwrap().into_inner();
    assert_eq!(made.account.unwrap().state(), pb::AccountState::Active);
    assert_eq!(listen(&house, question("providers/acme/models/m", "hello")).await.text(), "Hello!");
    let bearer = format!("Bearer {KEY}");
    assert_eq!(vendor.last_asked().header("authorization"), Some(bearer.as_str()));
    assert_eq!(holds(house.folder.path(), KEY), None);
}

#[tokio::test]
async fn a_key_never_travels_to_an_address_that_it_was_not_given_for() {
    let vendor = Vendor::start().await;
    let elsewhere = Vendor::start().await;
    vendor.always(Reply::sse(HELLO));
    elsewhere.always(Reply::sse(HELLO));
    let house = sealing()
        .env("OPENAI_API_KEY", "sk-of-the-environment")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    add_account(&house, "mine", account("openai", KEY)).await;

    let moved = pb::Account {
        name: "accounts/mine".to_owned(),
        base_uri: elsewhere.url(),
        ..Default::default()
    };
    let refused = change_account(&house, moved.clone()).await.unwrap_err();
    assert_eq!(fields(&refused), ["account.api_key"]);
    let of_environment = pb::Account { name: "accounts/openai-env".to_owned(), ..moved.clone() };
    let refused = change_account(&house, of_environment).await.unwrap_err();
    assert_eq!(fields(&refused), ["account.api_key"]);
    // The provider moves: no account goes with it.
    let provider = v1::Provider {
        name: "providers/openai".to_owned(),
        base_uri: elsewhere.url(),
        ..Default::default()
    };
    let request = pb::UpdateProviderRequest { provider: Some(provider), ..Default::default() };
    catalog(&house).update_provider(request).await.unwrap();
    for id in ["mine", "openai-env"] {
        let account = the_account(&house, id).await.unwrap();
        assert_eq!(account.state(), pb::AccountState::Unusable, "{id}");
        let why = account.health.unwrap().last_error.unwrap().message;
        assert!(why.contains("send the key again"), "{why}");
    }
    // A variable of the provider is for its own address alone.
    let request = pb::CreateAccountRequest {
        account: Some(pb::Account {
            provider: "providers/openai".to_owned(),
            credential: Some(pb::account::Credential::SecretRef("env:OPENAI_API_KEY".to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = accounts(&house).create_account(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["account.secret_ref"]);
    let heard = listen(&house, question("providers/openai/models/gpt-4-1-mini", "hello")).await;
    assert_eq!(heard.reason(), "NO_USABLE_ACCOUNT");
    assert!(elsewhere.asked().is_empty());

    // With the key sent again it goes there.
    let with_key = pb::Account {
        credential: Some(pb::account::Credential::ApiKey("sk-for-the-other-place".to_owned())),
        ..moved
    };
    change_account(&house, with_key).await.unwrap();
    let heard = listen(&house, question("providers/openai/models/gpt-4-1-mini", "hello")).await;
    assert_eq!(heard.text(), "Hello!");
    let sent = elsewhere.last_asked();
    assert_eq!(sent.header("authorization"), Some("Bearer sk-for-the-other-place"));
}

#[tokio::test]
async fn a_stale_etag_changes_nothing_and_a_repeat_has_one_effect() {
    let house = House::new();
    let create = || pb::CreateProviderRequest {
        provider: Some(provider_at("http://acme.test")),
        provider_id: "acme".to_owned(),
        request_id: REQUEST_ID.to_owned(),
        validate_only: false,
    };
    let validated = pb::CreateProviderRequest { validate_only: true, ..create() };
    let shown = catalog(&house).create_provider(validated).await.unwrap().into_inner();
    assert_eq!(shown.provider.unwrap().name, "providers/acme");
    let get = v1::GetProviderRequest { name: "providers/acme".to_owned() };
    let missing = house.client().raw().models().get_provider(get).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);

    let made = catalog(&house).create_provider(create()).await.unwrap();
    assert!(!is_replayed(&made));
    let again = catalog(&house).create_provider(create()).await.unwrap();
    assert!(is_replayed(&again));
    let made = made.into_inner().provider.unwrap();
    assert_eq!(again.into_inner().provider.unwrap(), made);
    let other = pb::CreateProviderRequest { provider_id: "other".to_owned(), ..create() };
    let reused = catalog(&house).create_provider(other).await.unwrap_err();
    assert_eq!(said(&reused).0, "REQUEST_ID_REUSED");
    let twice = pb::CreateProviderRequest { request_id: String::new(), ..create() };
    let exists = catalog(&house).create_provider(twice).await.unwrap_err();
    assert_eq!(exists.code(), Code::AlreadyExists);

    let rename = |etag: &str, name: &str| pb::UpdateProviderRequest {
        provider: Some(v1::Provider {
            name: "providers/acme".to_owned(),
            display_name: name.to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let changed = catalog(&house).update_provider(rename(&made.etag, "Acme")).await.unwrap();
    let changed = changed.into_inner().provider.unwrap();
    assert!(changed.etag != made.etag && changed.display_name == "Acme");
    let stale = catalog(&house).update_provider(rename(&made.etag, "Late")).await.unwrap_err();
    assert_eq!((stale.code(), said(&stale).0.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    // Rows below the store have a version too.
    let below = house.client().raw().models();
    let get = v1::GetProviderRequest { name: "providers/groq".to_owned() };
    let groq = below.clone().get_provider(get).await.unwrap().into_inner().provider.unwrap();
    let overlay = |etag: &str| pb::UpdateProviderRequest {
        provider: Some(v1::Provider {
            name: "providers/groq".to_owned(),
            display_name: "Ours".to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let stale = catalog(&house).update_provider(overlay("\"7\"")).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    catalog(&house).update_provider(overlay(&groq.etag)).await.unwrap();
    let gone = pb::DeleteProviderRequest {
        name: "providers/acme".to_owned(),
        request_id: REQUEST_ID.to_owned(),
        ..Default::default()
    };
    let once = catalog(&house).delete_provider(gone.clone()).await.unwrap();
    let twice = catalog(&house).delete_provider(gone.clone()).await.unwrap();
    assert!(!is_replayed(&once) && is_replayed(&twice));
    let missing = pb::DeleteProviderRequest { request_id: String::new(), ..gone.clone() };
    assert_eq!(catalog(&house).delete_provider(missing).await.unwrap_err().code(), Code::NotFound);
    let fine = pb::DeleteProviderRequest { request_id: String::new(), allow_missing: true, ..gone };
    catalog(&house).delete_provider(fine).await.unwrap();
}

#[tokio::test]
async fn many_changes_at_once_all_find_their_place() {
    let house = House::new();
    add_provider(&house, "acme", provider_at("http://acme.test")).await;
    let adding = (0..24).map(|n| {
        let house = &house;
        async move { add_model(house, "acme", &format!("m-{n}"), model(&format!("M{n}"))).await }
    });
    let made = futures::future::join_all(adding).await;
    assert_eq!(made.len(), 24);
    let request = v1::ListModelsRequest {
        parent: "providers/acme".to_owned(),
        page_size: 100,
        ..Default::default()
    };
    let listed = house.client().raw().models().list_models(request).await.unwrap().into_inner();
    assert_eq!(listed.models.len(), 24);
    assert!(listed.models.iter().all(|model| model.origin() == v1::ModelOrigin::Manual));
}

#[tokio::test]
async fn an_overlay_comes_and_goes_and_what_lies_below_stays() {
    let vendor = Vendor::start().await;
    vendor.always(Reply::sse(HELLO));
    let house = House::plan()
        .config(&format!(
            "[[accounts]]\nid = \"main\"\nprovider = \"openai\"\napi_key = \"{KEY}\"\nbase_uri = \"{}\"",
            vendor.url()
        ))
        .start();
    let name = "providers/openai/models/gpt-4-1-mini";
    let before = house.client().get_model(name).await.unwrap();
    assert_eq!(before.origin(), v1::ModelOrigin::Config);
    let request = |display_name: &str| pb::UpdateModelRequest {
        model: Some(v1::Model {
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            enabled: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    };
    let over = catalog(&house).update_model(request("Ours")).await.unwrap().into_inner();
    let over = over.model.unwrap();
    assert_eq!((over.display_name.as_str(), over.origin()), ("Ours", v1::ModelOrigin::Manual));
    assert_eq!((&over.prices, &over.capabilities), (&before.prices, &before.capabilities));
    let heard = listen(&house, question(name, "hello")).await;
    assert_eq!(heard.reason(), "RESOURCE_NOT_FOUND");
    delete(&house, name, false).await.unwrap();
    assert_eq!(house.client().get_model(name).await.unwrap(), before);
    let built_in = delete(&house, name, false).await.unwrap_err();
    assert_eq!(said(&built_in).0, "RESOURCE_IN_USE");
    assert!(built_in.message().contains("enabled"), "{}", built_in.message());

    // An account of the configuration: disabled, given limits, and as it was.
    let disable =
        pb::DisableAccountRequest { name: "accounts/main".to_owned(), ..Default::default() };
    let disabled = accounts(&house).disable_account(disable).await.unwrap().into_inner();
    let disabled = disabled.account.unwrap();
    assert_eq!(
        (disabled.state(), disabled.origin.as_str()),
        (pb::AccountState::Disabled, "config")
    );
    assert_eq!(listen(&house, question(name, "hello")).await.reason(), "NO_USABLE_ACCOUNT");
    let enable =
        pb::EnableAccountRequest { name: "accounts/main".to_owned(), ..Default::default() };
    accounts(&house).enable_account(enable).await.unwrap();
    let limited = pb::Account {
        name: "accounts/main".to_owned(),
        allowed_models: vec![name.to_owned()],
        ..Default::default()
    };
    change_account(&house, limited).await.unwrap();
    // The key is still that of the configuration.
    assert_eq!(listen(&house, question(name, "hello")).await.text(), "Hello!");
    let bearer = format!("Bearer {KEY}");
    assert_eq!(vendor.last_asked().header("authorization"), Some(bearer.as_str()));
    let other = listen(&house, question("providers/openai/models/gpt-5-4-mini", "hello")).await;
    assert_eq!(other.reason(), "NO_USABLE_ACCOUNT");
    let gone = pb::DeleteAccountRequest { name: "accounts/main".to_owned(), ..Default::default() };
    accounts(&house).delete_account(gone.clone()).await.unwrap();
    let other = listen(&house, question("providers/openai/models/gpt-5-4-mini", "hello")).await;
    assert_eq!(other.text(), "Hello!");
    let refused = accounts(&house).delete_account(gone).await.unwrap_err();
    assert_eq!(said(&refused).0, "RESOURCE_IN_USE");
    assert!(refused.message().contains("configuration"), "{}", refused.message());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_nothing() {
    let mut house = House::new();
    let overlay = pb::UpdateProviderRequest {
        provider: Some(v1::Provider {
            name: "providers/groq".to_owned(),
            display_name: "Ours".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    catalog(&house).update_provider(overlay).await.unwrap();
    house.signal("KILL");
    house.wait_for_exit(std::time::Duration::from_secs(20));
    let store = SqliteStore::open(Settings::new(house.folder.path().join("data"))).await.unwrap();
    let row = |key: CatalogKey, json: &str| CatalogRow {
        key,
        origin: "manual".to_owned(),
        json: json.to_owned(),
        stamp: Stamp::default(),
    };
    let model = |id: &str| CatalogKey::Model { provider: "openai".into(), id: id.into() };
    let rows = vec![
        row(CatalogKey::Provider("groq".into()), "{\"id\": \"groq\"}"),
        row(
            CatalogKey::Provider("odd".into()),
            "{\"id\":\"odd\",\"display_name\":\"Odd\",\"dialect\":\"latin\"}",
        ),
        row(model("gpt-4-1-mini"), "not json"),
        row(CatalogKey::Model { provider: "nobody".into(), id: "m".into() }, "{}"),
    ];
    store.catalog().put(rows, Change::at(std::time::SystemTime::now())).await.unwrap();
    store.close().await;

    house.restart();

    // What lies below is there.
    let models = house.client().raw().models();
    let get = |name: &str| v1::GetProviderRequest { name: name.to_owned() };
    let groq = models.clone().get_provider(get("providers/groq")).await.unwrap().into_inner();
    assert_eq!(groq.provider.unwrap().display_name, "Groq");
    assert!(models.clone().get_provider(get("providers/odd")).await.is_err());
    let model = house.client().get_model("providers/openai/models/gpt-4-1-mini").await.unwrap();
    assert_eq!(model.origin(), v1::ModelOrigin::Config);
    for name in [
        "providers/groq",
        "providers/odd",
        "providers/openai/models/gpt-4-1-mini",
        "providers/nobody/models/m",
    ] {
        let said = house.log().lines().filter(|line| line.contains(&format!("\"{name}\""))).count();
        assert_eq!(said, 1, "{name}: {}", house.log());
    }
    assert!(house.log().contains("latin"), "{}", house.log());
    // They can be replaced and deleted by name.
    let request = pb::UpdateProviderRequest {
        provider: Some(v1::Provider {
            name: "providers/odd".to_owned(),
            ..provider_at("http://odd.test")
        }),
        allow_missing: true,
        ..Default::default()
    };
    catalog(&house).update_provider(request).await.unwrap();
    delete(&house, "providers/odd", false).await.unwrap();
    delete(&house, "providers/groq", false).await.unwrap();
    delete(&house, "providers/nobody/models/m", false).await.unwrap();
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let house = sealing().start();
    let odd = v1::Provider {
        protocol: "latin".to_owned(),
        base_uri: "ftp://x".to_owned(),
        async_mode: v1::AsyncMode::Poll.into(),
        default_limits: Some(v1::ProviderLimits::default()),
        protocol_settings_json: r#"{"headers": {"host": "x"}, "auth": {"key_env": ["PATH"]}}"#
            .to_owned(),
        ..Default::default()
    };
    let create = |provider: v1::Provider| pb::CreateProviderRequest {
        provider: Some(provider),
        provider_id: "odd".to_owned(),
        ..Default::default()
    };
    let refused = catalog(&house).create_provider(create(odd)).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        [
            "provider.base_uri",
            "provider.async_mode",
            "provider.default_limits",
            "provider.protocol_settings_json",
            "provider.protocol_settings_json",
        ]
    );
    assert!(refused.message().contains("vault.readable_variables"), "{}", refused.message());
    let latin = v1::Provider { protocol: "latin".to_owned(), ..provider_at("http://x.test") };
    let refused = catalog(&house).create_provider(create(latin)).await.unwrap_err();
    assert!(refused.message().contains("openai_chat"), "{}", refused.message());
    for (settings, problem) in [
        ("[]", "must be a JSON object"),
        ("{", "is not JSON"),
        ("{\"colour\": 1}", "colour"),
        ("{\"dialect\": \"anthropic\"}", "provider.protocol"),
        ("{\"auth\": {\"scheme\": \"none\"}}", "provider.auth_scheme"),
        ("{\"openai_chat\": {\"max_tokens_field\": \"x\"}}", "max_completion_tokens"),
    ] {
        let provider = v1::Provider {
            protocol_settings_json: settings.to_owned(),
            ..provider_at("http://x.test")
        };
        let refused = catalog(&house).create_provider(create(provider)).await.unwrap_err();
        assert_eq!(fields(&refused), ["provider.protocol_settings_json"], "{settings}");
        assert!(refused.message().contains(problem), "{}", refused.message());
    }
    let odd = v1::Model {
        capabilities: vec!["text-to-text".to_owned(), "to-sing".to_owned()],
        context_tokens: Some(0),
        aliases: vec![String::new()],
        replacement: "providers/groq/models/x".to_owned(),
        prices: vec![v1::Price { unit: "word".to_owned(), ..Default::default() }],
        ..Default::default()
    };
    let request = pb::CreateModelRequest {
        parent: "providers/openai".to_owned(),
        model: Some(odd),
        model_id: "odd".to_owned(),
        ..Default::default()
    };
    let refused = catalog(&house).create_model(request).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        [
            "model.provider_model_id",
            "model.aliases[0]",
            "model.capabilities[1]",
            "model.context_tokens",
            "model.prices[0].unit",
            "model.replacement",
        ]
    );
    let odd = pb::Account {
        base_uri: "x".to_owned(),
        settings_json: "[]".to_owned(),
        weight: Some(0.0),
        allowed_models: vec!["providers/groq/models/x".to_owned()],
        limits: Some(pb::RateLimits { requests_per_minute: Some(0), ..Default::default() }),
        budget: Some(pb::Budget { day_cost_pico_usd: Some(-1), ..Default::default() }),
        ..account("openai", "two\nlines")
    };
    let request = pb::CreateAccountRequest { account: Some(odd), ..Default::default() };
    let refused = accounts(&house).create_account(request).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        [
            "account.api_key",
            "account.base_uri",
            "account.settings_json",
            "account.weight",
            "account.allowed_models[0]",
            "account.limits.requests_per_minute",
            "account.budget.day_cost_pico_usd",
        ]
    );
    let unknown = pb::UpdateAccountRequest {
        account: Some(add_account(&house, "fine", account("openai", KEY)).await),
        update_mask: Some(prost_types::FieldMask { paths: vec!["colour".to_owned()] }),
        ..Default::default()
    };
    let refused = accounts(&house).update_account(unknown).await.unwrap_err();
    assert_eq!(fields(&refused), ["update_mask"]);
}

#[tokio::test]
async fn accounts_are_found_by_what_they_are() {
    let house = sealing().env("GROQ_API_KEY", "key-of-the-environment-1").start();
    with_acme(&house).await;
    let list = async |filter: &str| {
        let request = pb::ListAccountsRequest { filter: filter.to_owned(), ..Default::default() };
        let listed = accounts(&house).list_accounts(request).await.unwrap().into_inner();
        listed.accounts.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, ["accounts/acme-1", "accounts/groq-env", "accounts/sandbox-env"]);
    assert_eq!(list("provider = \"providers/acme\" AND state = ACTIVE").await, ["accounts/acme-1"]);
    assert_eq!(list("origin = environment").await, ["accounts/groq-env"]);
    let of_environment = the_account(&house, "groq-env").await.unwrap();
    assert_eq!(of_environment.key_hint, "nt-1");
    assert!(of_environment.create_time.is_none() && !of_environment.key_fingerprint.is_empty());
}
