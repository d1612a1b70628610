//! Where Azure is called and with what: an address for each customer, two generations of paths, a
//! key or a token.

mod support;

use support::{
    House, Reply, Vendor,
    ask::{listen, question},
};

const MODEL: &str = "providers/azure/models/harbour";
const HELLO: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello!\"},\
                     \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn a_key_and_an_endpoint_in_the_environment_are_enough() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("AZURE_OPENAI_API_KEY", "key-of-the-test")
        .env("AZURE_OPENAI_ENDPOINT", format!("{}/", vendor.url()))
        .start();
    vendor.replies([Reply::sse(HELLO)]);

    let heard = listen(&house, question(MODEL, "say hello")).await;

    assert_eq!(heard.text(), "Hello!");
    let asked = &vendor.asked()[0];
    assert_eq!(asked.path, "/openai/v1/chat/completions");
    assert_eq!(asked.header("api-key"), Some("key-of-the-test"));
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(asked.json()["model"], "harbour");
}

#[tokio::test]
async fn a_version_brings_the_older_addresses_and_a_token_is_a_bearer() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("AZURE_OPENAI_AD_TOKEN", "token-of-the-test")
        .env("AZURE_OPENAI_ENDPOINT", vendor.url())
        .env("OPENAI_API_VERSION", "2024-10-21")
        .start();
    vendor.replies([Reply::sse(HELLO)]);

    listen(&house, question(MODEL, "say hello")).await;

    let asked = &vendor.asked()[0];
    let path = "/openai/deployments/harbour/chat/completions?api-version=2024-10-21";
    assert_eq!(asked.path, path);
    assert_eq!(asked.header("authorization"), Some("Bearer token-of-the-test"));
    assert_eq!(asked.header("api-key"), None);
}

#[tokio::test]
async fn settings_of_an_account_say_the_same_and_a_row_names_the_wire_of_a_deployment() {
    let vendor = Vendor::start().await;
    let account = |id: &str, more: &str| {
        format!(
            "[[accounts]]\nid = \"{id}\"\nprovider = \"azure\"\napi_key = \"env:KEY\"\n\
             base_uri = \"{}/openai/v1\"\n{more}\n",
            vendor.url()
        )
    };
    let row = "[[models]]\nid = \"new\"\nprovider_model_id = \"new\"\n\
               dialect = \"openai_responses\"\ncapabilities = [\"text-to-text\"]\n\
               input_kinds = [\"text\"]\noutput_kinds = [\"text\"]\nfeatures = [\"streaming\"]\n";
    let house = House::plan()
        .env("KEY", "key-of-the-test")
        .config(&account("main", "settings.bearer = true"))
        .row("models/azure.toml", row)
        .start();
    vendor.replies([Reply::json(200, r#"{"status":"completed","output":[]}"#)]);

    listen(&house, question("providers/azure/models/new", "say hello")).await;

    let asked = &vendor.asked()[0];
    assert_eq!(asked.path, "/openai/v1/responses");
    assert_eq!(asked.header("authorization"), Some("Bearer key-of-the-test"));
}

#[tokio::test]
async fn a_key_without_an_address_is_no_account_and_both_are_named() {
    let house = House::plan().env("AZURE_OPENAI_API_KEY", "key-of-the-test").start();

    let heard = listen(&house, question(MODEL, "say hello")).await;

    let failure = heard.failure.as_ref().expect("a failure");
    assert_eq!(failure.reason(), "NO_USABLE_ACCOUNT");
    assert_eq!(failure.metadata()["requiredEnv"], "AZURE_OPENAI_API_KEY,AZURE_OPENAI_ENDPOINT");
    let account = "accounts = [{ id = \"a\", provider = \"azure\", api_key = \"env:KEY\" }]";
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("mediary.toml"), account).unwrap();
    let ran = support::house::run(folder.path(), &[("KEY", "k")], &["serve"], "");
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("set base_uri"), "{}", ran.stderr);
}
