//! The catalog as callers see it: what there is, who is configured, how lists are read, which
//! model a name means, and that a further vendor is a file.

mod support;

use std::{collections::BTreeSet, fs};

use futures::TryStreamExt as _;
use mediary_client::{Client, Error, v1};
use support::{
    House, Reply, Vendor,
    ask::{listen, question, said},
    house::run,
};
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const HELLO: &str = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n\
                     data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo!\"}}]}\n\n\
                     data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                     data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n\
                     data: [DONE]\n\n";

async fn models(client: &Client, filter: &str, order_by: &str) -> Vec<v1::Model> {
    let request = v1::ListModelsRequest {
        filter: filter.to_owned(),
        order_by: order_by.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    client.list_models(request).try_collect().await.unwrap()
}

async fn providers(client: &Client) -> Vec<v1::Provider> {
    let all = client.list_providers(v1::ListProvidersRequest::default());
    all.try_collect().await.unwrap()
}

async fn provider(client: &Client, id: &str) -> v1::Provider {
    let name = format!("providers/{id}");
    let reply = client.raw().models().get_provider(v1::GetProviderRequest { name }).await;
    reply.unwrap().into_inner().provider.unwrap()
}

fn names(models: &[v1::Model]) -> Vec<&str> {
    models.iter().map(|model| model.name.as_str()).collect()
}

#[tokio::test]
async fn all_sixteen_capabilities_are_told_with_who_could_serve_them() {
    let house = House::new();
    let all = house.client().list_capabilities(v1::ListCapabilitiesRequest::default());
    let all: Vec<_> = all.try_collect().await.unwrap();

    let ids: BTreeSet<&str> = all.iter().map(|one| one.id.as_str()).collect();
    assert_eq!((all.len(), ids.len()), (16, 16), "{ids:?}");
    assert!(all.is_sorted_by_key(|one| &one.id));
    for one in &all {
        assert!(!one.display_name.is_empty() && !one.input_kinds.is_empty(), "{one:?}");
        assert!(!one.output_kinds.is_empty(), "{one:?}");
        // Without a key there is the sandbox, for text about text and about images, and vectors.
        let usable = match &*one.id {
            "text-to-text" | "image-to-text" => 2,
            "text-embedding" => 1,
            _ => 0,
        };
        assert_eq!(one.models_usable, usable, "{}", one.id);
    }
}

#[tokio::test]
async fn a_provider_is_configured_once_its_variable_is_set() {
    let bare = House::new();
    let keyed = House::plan().env("GROQ_API_KEY", "key-of-the-test").start();
    let bare_list = providers(&bare.client()).await;
    let keyed_list = providers(&keyed.client()).await;

    let groq = |list: &[v1::Provider]| {
        list.iter().find(|one| one.name == "providers/groq").cloned().unwrap()
    };
    assert!(!groq(&bare_list).configured && groq(&keyed_list).configured);
    assert_eq!((groq(&bare_list).accounts_usable, groq(&keyed_list).accounts_usable), (0, 1));
    assert_eq!(groq(&bare_list).required_env, ["GROQ_API_KEY"]);
    assert_eq!(bare_list.len(), keyed_list.len());
    for one in &bare_list {
        // Whoever is not configured says what is missing.
        assert!(one.configured != (one.name != "providers/sandbox"), "{one:?}");
        assert_eq!(one.required_env.is_empty(), one.configured, "{one:?}");
        assert_eq!(&provider(&bare.client(), &one.name["providers/".len()..]).await, one);
    }
    for (house, availability) in
        [(bare, v1::ModelAvailability::NoAccount), (keyed, v1::ModelAvailability::Usable)]
    {
        let model = house.client().get_model("providers/groq/models/gpt-oss-20b").await.unwrap();
        assert_eq!(model.availability(), availability);
    }
}

#[tokio::test]
async fn a_key_is_shown_nowhere() {
    const KEY: &str = "sk-very-secret-0123456789";
    let vendor = Vendor::start().await;
    let echo = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}"}}}}"#);
    vendor.replies([Reply::json(401, echo), Reply::sse(HELLO)]);
    let house = House::plan()
        .config("log.level = \"debug\"")
        .env("OPENAI_API_KEY", KEY)
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        // A key that was refused is tried again.
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .start();
    let client = house.client();

    let all = providers(&client).await;
    let one = provider(&client, "openai").await;
    let models = models(&client, "", "").await;
    let refused = listen(&house, question("providers/openai/models/gpt-4-1-mini", "hello")).await;
    let heard = listen(&house, question("providers/openai/models/gpt-4-1-mini", "hello")).await;

    assert_eq!(refused.reason(), "CREDENTIALS_REJECTED");
    assert_eq!(heard.text(), "Hello!");
    let sent = vendor.last_asked();
    assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let shown = format!("{all:?}{one:?}{models:?}{refused:?}{heard:?}");
    assert!(one.configured && !shown.contains(KEY), "{refused:?}");
    assert!(!house.log().contains(KEY), "{}", house.log());
    let printed = house.run(&["models"], "");
    assert!(printed.code == 0 && !printed.stdout.contains(KEY), "{printed:?}");
}

fn model_row(id: &str, more: &str) -> String {
    format!(
        "[[models]]\nid = {id:?}\ncapabilities = [\"text-to-text\", \"image-to-text\"]\n\
         input_kinds = [\"text\", \"image\"]\noutput_kinds = [\"text\"]\n\
         features = [\"streaming\"]\n{more}\n"
    )
}

#[tokio::test]
async fn a_filter_and_an_order_give_exactly_what_they_say() {
    let own = model_row("look", "provider_model_id = \"look\"");
    let house = House::plan().row("models/vllm.toml", own).start();
    let client = house.client();
    let all = models(&client, "", "").await;
    assert!(all.is_sorted_by_key(|model| &model.name));

    let found = models(&client, r#"capability:"image-to-text" AND local = true"#, "").await;
    let fits = |model: &&v1::Model| {
        model.local && model.capabilities.iter().any(|one| one == "image-to-text")
    };
    let expected: Vec<_> = all.iter().filter(fits).cloned().collect();
    assert_eq!(names(&found), names(&expected));
    assert!(names(&found).contains(&"providers/vllm/models/look"));
    assert!(found.len() < all.len());

    let found = models(&client, "", "context_tokens desc, name desc").await;
    assert_eq!(found.len(), all.len());
    // What is not known comes last where the largest come first.
    assert!(
        found.is_sorted_by(|a, b| { (a.context_tokens, &a.name) > (b.context_tokens, &b.name) })
    );

    let parent =
        v1::ListModelsRequest { parent: "providers/groq".to_owned(), ..Default::default() };
    let of_one: Vec<_> = client.list_models(parent).try_collect().await.unwrap();
    let expected = all.iter().filter(|one| one.name.starts_with("providers/groq/"));
    assert_eq!(of_one, expected.cloned().collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_of_seven_hold_every_model_once() {
    let house = House::new();
    let client = house.client();
    let all = models(&client, "", "").await;
    for order_by in ["", "display_name desc", "context_tokens"] {
        let mut pages = 0;
        let mut walked = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListModelsRequest {
                order_by: order_by.to_owned(),
                page_size: 7,
                page_token,
                ..Default::default()
            };
            let page = client.models_page(request).await.unwrap();
            pages += 1;
            assert!(page.models.len() <= 7);
            walked.extend(page.models);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(pages, all.len().div_ceil(7), "{order_by}");
        assert_eq!(walked, models(&client, "", order_by).await, "{order_by}");
        assert_eq!(names(&walked).iter().collect::<BTreeSet<_>>().len(), all.len(), "{order_by}");
    }
}

#[tokio::test]
async fn a_list_that_is_asked_wrongly_says_what_is_wrong() {
    let house = House::new();
    let client = house.client();
    let base = || v1::ListModelsRequest { parent: "providers/-".to_owned(), ..Default::default() };
    let page = v1::ListModelsRequest { page_size: 7, ..base() };
    let token = client.models_page(page).await.unwrap().next_page_token;
    assert!(!token.is_empty());

    for (request, reason, field) in [
        (v1::ListModelsRequest { filter: "local =".into(), ..base() }, "FILTER_INVALID", "filter"),
        (
            v1::ListModelsRequest { filter: "price = 3".into(), ..base() },
            "FILTER_INVALID",
            "filter",
        ),
        (
            v1::ListModelsRequest { filter: "local = maybe".into(), ..base() },
            "FILTER_INVALID",
            "filter",
        ),
        (v1::ListModelsRequest { order_by: "price".into(), ..base() }, "FIELD_INVALID", "order_by"),
        (
            v1::ListModelsRequest { order_by: "name upwards".into(), ..base() },
            "FIELD_INVALID",
            "order_by",
        ),
        (v1::ListModelsRequest { page_size: -1, ..base() }, "FIELD_INVALID", "page_size"),
        (
            v1::ListModelsRequest { page_token: "made-up".into(), ..base() },
            "PAGE_TOKEN_INVALID",
            "page_token",
        ),
        // A token is for the question that it was given for.
        (
            v1::ListModelsRequest { page_token: token, filter: "local = true".into(), ..base() },
            "PAGE_TOKEN_INVALID",
            "page_token",
        ),
        (v1::ListModelsRequest { parent: "groq".into(), ..base() }, "FIELD_INVALID", "parent"),
    ] {
        let what = format!("{request:?}");
        let status = client.raw().models().list_models(request).await.expect_err(&what);
        let (told, fields) = said(&status);
        assert_eq!((status.code(), told.as_str()), (Code::InvalidArgument, reason), "{what}");
        assert_eq!(fields.len(), 1, "{what}: {fields:?}");
        assert_eq!(fields[0].0, field, "{what}");
        assert!(fields[0].1.len() > 10, "{what}: {fields:?}");
    }
    let negative = v1::ListProvidersRequest { page_size: -5, ..Default::default() };
    let status = client.raw().models().list_providers(negative).await.unwrap_err();
    assert_eq!(said(&status).1[0].0, "page_size");
}

/// The `ResourceInfo` of a failure: type and name.
fn resource(status: &Status) -> (String, String) {
    let details = status.get_error_details();
    let resource = details.resource_info().expect("ResourceInfo").clone();
    (resource.resource_type, resource.resource_name)
}

#[tokio::test]
async fn a_model_is_found_by_name_retired_ones_too_and_an_unknown_one_is_named() {
    let house = House::new();
    let client = house.client();
    for model in models(&client, "", "").await {
        assert_eq!(client.get_model(&model.name).await.unwrap(), model);
    }
    let retired = client.get_model("providers/groq/models/llama-3-1-8b-instant").await.unwrap();
    assert_eq!(retired.lifecycle(), v1::ModelLifecycle::Retired);
    assert_eq!(retired.replacement, "providers/groq/models/gpt-oss-20b");
    assert!(client.get_model(&retired.replacement).await.is_ok());

    for name in ["providers/groq/models/gpt-oss-21b", "providers/nobody/models/x"] {
        let request = v1::GetModelRequest { name: name.to_owned() };
        let status = client.raw().models().get_model(request).await.unwrap_err();
        assert_eq!((status.code(), said(&status).0), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
        assert_eq!(resource(&status), ("mediary.v1.Model".to_owned(), name.to_owned()));
    }
    let request = v1::GetProviderRequest { name: "providers/nobody".to_owned() };
    let status = client.raw().models().get_provider(request).await.unwrap_err();
    assert_eq!((status.code(), said(&status).0), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
    assert_eq!(
        resource(&status),
        ("mediary.v1.Provider".to_owned(), "providers/nobody".to_owned())
    );
}

/// A vendor that nobody has heard of, as its row describes it.
fn provider_row(id: &str, base_uri: &str) -> String {
    format!(
        "id = {id:?}\ndisplay_name = \"{id} Inc.\"\ndialect = \"openai_chat\"\n\
         base_uri = {base_uri:?}\n[auth]\nkey_env = [\"{}_API_KEY\"]\n",
        id.to_uppercase()
    )
}

#[tokio::test]
async fn a_further_compatible_vendor_is_two_files() {
    let vendor = Vendor::start().await;
    vendor.replies([Reply::sse(HELLO)]);
    let row = format!(
        "{}[openai_chat]\nmax_tokens_field = \"max_tokens\"\n",
        provider_row("newcomer", &format!("{}/api/v7/", vendor.url()))
    );
    let priced = "provider_model_id = \"New/Comer-1:Large\"\nprices = [\
                  { unit = \"output-token\", micro_usd_per_million = 3000000 }]";
    let house = House::plan()
        .row("providers/newcomer.toml", row)
        .row("models/newcomer.toml", model_row("comer-1-large", priced))
        .env("NEWCOMER_API_KEY", "key-of-the-newcomer")
        .start();

    let heard = listen(&house, question("comer-1-large", "hello").max_output_tokens(77)).await;

    assert_eq!(heard.text(), "Hello!");
    assert_eq!(heard.started().model, "providers/newcomer/models/comer-1-large");
    assert_eq!(heard.finished().cost_pico_usd, 2 * 3_000_000);
    let asked = vendor.last_asked();
    assert_eq!(asked.path, "/api/v7/chat/completions");
    assert_eq!(asked.header("authorization"), Some("Bearer key-of-the-newcomer"));
    assert_eq!(asked.json()["model"], "New/Comer-1:Large");
    assert_eq!(asked.json()["max_tokens"], 77);
    let told = provider(&house.client(), "newcomer").await;
    assert!(told.configured && told.display_name == "newcomer Inc.", "{told:?}");
    // The built-in rows are still there.
    assert_eq!(listen(&house, question("sandbox-text", "hello")).await.terminals(), 1);
}

/// Four vendors whose rows share names on purpose, all played by one.
async fn four_vendors() -> (House, Vendor) {
    let vendor = Vendor::start().await;
    vendor.always(Reply::sse(HELLO));
    let own = |id: &str| format!("provider_model_id = {id:?}");
    let aliased = |id: &str, alias: &str| format!("{}\naliases = [{alias:?}]", own(id));
    let rows = [
        ("alpha", [model_row("shared", &own("a-1")), model_row("plain", &own("a-2"))].concat()),
        (
            "beta",
            [
                model_row("b-one", &aliased("b-1", "shared")),
                model_row("b-two", &aliased("b-2", "nick")),
                model_row("b-three", &aliased("b-3", "providers/alpha/models/plain")),
                model_row("twin", &own("b-4")),
            ]
            .concat(),
        ),
        (
            "gamma",
            [
                model_row("g-one", &own("shared")),
                model_row("g-two", &own("nick")),
                model_row("g-three", &own("Vendor/Own:Id")),
                model_row("twin", &own("g-4")),
                model_row(
                    "gone",
                    "provider_model_id = \"g-5\"\nlifecycle = \"retired\"\nreplacement = \"g-one\"",
                ),
                model_row("forgotten", "provider_model_id = \"g-6\"\nlifecycle = \"retired\""),
            ]
            .concat(),
        ),
        ("delta", model_row("twin", &own("d-4"))),
    ];
    let mut plan = House::plan();
    for (id, models) in rows {
        plan = plan
            .row(&format!("providers/{id}.toml"), provider_row(id, &vendor.url()))
            .row(&format!("models/{id}.toml"), models);
        // Of delta there is a row and no key.
        if id != "delta" {
            plan = plan.env(&format!("{}_API_KEY", id.to_uppercase()), "key-of-the-test");
        }
    }
    (plan.start(), vendor)
}

#[tokio::test]
async fn a_name_means_a_resource_then_an_id_then_an_alias_then_the_providers_own_id() {
    let (house, _vendor) = four_vendors().await;
    for (named, meant) in [
        // The resource name of one model is the alias of another.
        ("providers/alpha/models/plain", "providers/alpha/models/plain"),
        // An id of one, an alias of the next, the own id of a third.
        ("shared", "providers/alpha/models/shared"),
        // An alias of one, the own id of another.
        ("nick", "providers/beta/models/b-two"),
        ("Vendor/Own:Id", "providers/gamma/models/g-three"),
        ("providers/beta/models/twin", "providers/beta/models/twin"),
    ] {
        let heard = listen(&house, question(named, "hello")).await;
        assert_eq!(heard.started().model, meant, "{named}");
        assert_eq!(heard.finished().model, meant, "{named}");
    }
}

#[tokio::test]
async fn a_name_that_means_several_models_is_refused_with_all_of_them() {
    let (house, vendor) = four_vendors().await;

    let heard = listen(&house, question("twin", "hello")).await;

    let Some(Error::BadRequest { violations, .. }) = &heard.failure else { panic!("{heard:?}") };
    assert_eq!(heard.reason(), "FIELD_INVALID");
    assert_eq!(violations[0].field, "target.model");
    for candidate in ["providers/beta/models/twin", "providers/gamma/models/twin"] {
        assert!(violations[0].description.contains(candidate), "{violations:?}");
    }
    assert!(heard.events.is_empty() && vendor.asked().is_empty());
}

#[tokio::test]
async fn a_retired_model_is_refused_with_the_one_that_takes_its_place() {
    let (house, vendor) = four_vendors().await;
    for named in ["gone", "providers/gamma/models/gone", "g-5"] {
        let heard = listen(&house, question(named, "hello")).await;
        let failure = heard.failure.as_ref().unwrap();
        assert!(matches!(failure, Error::NotFound(_)), "{named}: {failure:?}");
        assert_eq!(failure.metadata()["replacement"], "providers/gamma/models/g-one", "{named}");
        let sentence = failure.message();
        assert!(sentence.contains("retired"), "{sentence}");
        assert!(sentence.contains("providers/gamma/models/g-one"), "{sentence}");
    }
    let heard = listen(&house, question("forgotten", "hello")).await;
    let failure = heard.failure.unwrap();
    assert!(failure.message().contains("retired"), "{failure}");
    assert!(!failure.metadata().contains_key("replacement"), "{failure:?}");
    assert!(vendor.asked().is_empty());
}

#[tokio::test]
async fn a_model_that_is_not_there_is_refused_with_the_one_that_was_meant() {
    let house = House::new();
    for (named, meant) in [
        ("sandbox-txt", Some("providers/sandbox/models/sandbox-text")),
        ("sandbox-reasonning", Some("providers/sandbox/models/sandbox-reasoning")),
        ("providers/sandbox/models/sandbox-tekst", Some("providers/sandbox/models/sandbox-text")),
        ("qqqqqqqq", None),
    ] {
        let request = v1::StreamTextRequest::from(question(named, "hello"));
        let status = house.client().raw().text().stream_text(request).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{named}");
        assert_eq!(resource(&status), ("mediary.v1.Model".to_owned(), named.to_owned()));
        let info = status.get_error_details().error_info().unwrap().clone();
        assert_eq!(info.reason, "RESOURCE_NOT_FOUND", "{named}");
        assert_eq!(info.metadata.get("didYouMean").map(String::as_str), meant, "{named}");
    }
}

/// What `mediary serve --check` makes of a folder of rows.
fn check(rows: &[(&str, &str)]) -> support::house::Ran {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("mediary.toml"), "catalog.directory = \"catalog\"\n").unwrap();
    for (path, text) in rows {
        let path = folder.path().join("catalog").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    run(folder.path(), &[], &["serve", "--check"], "")
}

#[test]
fn rows_that_are_bad_stop_the_start_with_their_file_and_what_is_wrong() {
    let good = provider_row("newcomer", "http://127.0.0.1:9/v1");
    let model = model_row("comer", "provider_model_id = \"c\"");
    let well = check(&[("providers/newcomer.toml", &good), ("models/newcomer.toml", &model)]);
    assert_eq!(well.code, 0, "{well:?}");

    let changed = |from: &str, to: &str| {
        let row = good.replace(from, to);
        assert_ne!(row, good);
        row
    };
    let capital = model_row("Comer", "provider_model_id = \"c\"");
    let own = "provider_model_id = \"c\"\n";
    for (file, text, problem) in [
        ("providers/newcomer.toml", "id = \"newcomer".to_owned(), "TOML"),
        ("providers/newcomer.toml", changed("openai_chat", "morse"), "morse"),
        ("providers/newcomer.toml", changed("dialect", "dialekt"), "dialekt"),
        ("providers/newcomer.toml", changed("\"newcomer\"", "\"New Comer\""), "New Comer"),
        ("providers/newcomer.toml", changed("[auth]\n", "[auth]\nscheme = \"cookie\"\n"), "cookie"),
        ("models/nobody.toml", model.clone(), "nobody"),
        ("models/newcomer.toml", capital, "Comer"),
        ("models/newcomer.toml", model_row("comer", ""), "provider_model_id"),
        ("models/newcomer.toml", model.replace("text-to-text", "text-to-smell"), "text-to-smell"),
        ("models/newcomer.toml", model_row("comer", &format!("{own}colour = 1")), "colour"),
        (
            "models/newcomer.toml",
            model_row(
                "comer",
                &format!("{own}prices = [{{ unit = \"kilo\", micro_usd_per_million = 1 }}]"),
            ),
            "kilo",
        ),
        (
            "models/newcomer.toml",
            model_row("comer", &format!("{own}lifecycle = \"retired\"\nreplacement = \"lost\"")),
            "lost",
        ),
        ("models/newcomer.toml", [model.clone(), model.clone()].concat(), "twice"),
    ] {
        let rows = [("providers/newcomer.toml", good.as_str()), (file, text.as_str())];
        let ran = check(&rows);
        assert_eq!(ran.code, 2, "{file} {problem}: {ran:?}");
        assert!(ran.stderr.contains(file), "{file} {problem}: {}", ran.stderr);
        assert!(ran.stderr.contains(problem), "{file} {problem}: {}", ran.stderr);
    }

    let bad = changed("openai_chat", "morse");
    let both = check(&[("providers/newcomer.toml", &bad), ("models/nobody.toml", &model)]);
    for word in ["morse", "models/nobody.toml"] {
        assert!(both.stderr.contains(word), "all at once: {}", both.stderr);
    }
}

#[test]
fn a_folder_of_rows_that_is_not_there_stops_the_start() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("mediary.toml"), "catalog.directory = \"katalog\"\n").unwrap();
    let ran = run(folder.path(), &[], &["serve", "--check"], "");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("katalog"), "{ran:?}");
}
