//! Short ways to change what exists.

use mediary_client::{Transport, v1};
use mediary_proto::admin::{
    self as pb, account_service_client::AccountServiceClient,
    catalog_service_client::CatalogServiceClient, route_service_client::RouteServiceClient,
};
use tonic::{Response, Status};

use super::House;

pub fn catalog(house: &House) -> CatalogServiceClient<Transport> {
    CatalogServiceClient::new(house.client().raw().transport())
}

pub fn accounts(house: &House) -> AccountServiceClient<Transport> {
    AccountServiceClient::new(house.client().raw().transport())
}

pub fn routes(house: &House) -> RouteServiceClient<Transport> {
    RouteServiceClient::new(house.client().raw().transport())
}

/// A provider that speaks the OpenAI chat wire at that address.
pub fn provider_at(url: &str) -> v1::Provider {
    v1::Provider {
        protocol: "openai-chat".to_owned(),
        base_uri: format!("{url}/v1"),
        ..Default::default()
    }
}

/// A model that answers in pieces and costs something.
pub fn model(provider_model_id: &str) -> v1::Model {
    let price = |unit: &str, rate| v1::Price {
        unit: unit.to_owned(),
        rate: Some(v1::price::Rate::MicroUsdPerMillion(rate)),
        ..Default::default()
    };
    v1::Model {
        provider_model_id: provider_model_id.to_owned(),
        capabilities: vec!["text-to-text".to_owned()],
        features: vec!["streaming".to_owned()],
        prices: vec![price("input-token", 1_000_000), price("output-token", 2_000_000)],
        ..Default::default()
    }
}

pub fn account(provider: &str, key: &str) -> pb::Account {
    pb::Account {
        provider: format!("providers/{provider}"),
        credential: Some(pb::account::Credential::ApiKey(key.to_owned())),
        ..Default::default()
    }
}

pub fn to_model(name: &str) -> v1::ModelTarget {
    v1::ModelTarget {
        target: Some(v1::model_target::Target::Model(name.to_owned())),
        ..Default::default()
    }
}

pub fn to_route(task: &str) -> v1::ModelTarget {
    v1::ModelTarget {
        target: Some(v1::model_target::Target::Route(task.to_owned())),
        ..Default::default()
    }
}

pub fn route(model: &str, fallbacks: &[&str]) -> pb::Route {
    pb::Route {
        capability: "text-to-text".to_owned(),
        target: Some(to_model(model)),
        fallbacks: fallbacks.iter().map(|name| to_model(name)).collect(),
        ..Default::default()
    }
}

pub async fn add_provider(house: &House, id: &str, provider: v1::Provider) -> v1::Provider {
    let request = pb::CreateProviderRequest {
        provider: Some(provider),
        provider_id: id.to_owned(),
        ..Default::default()
    };
    let made = catalog(house).create_provider(request).await.expect("a provider");
    made.into_inner().provider.unwrap()
}

pub async fn add_model(house: &House, provider: &str, id: &str, model: v1::Model) -> v1::Model {
    let request = pb::CreateModelRequest {
        parent: format!("providers/{provider}"),
        model: Some(model),
        model_id: id.to_owned(),
        ..Default::default()
    };
    let made = catalog(house).create_model(request).await.expect("a model");
    made.into_inner().model.unwrap()
}

pub async fn add_account(house: &House, id: &str, account: pb::Account) -> pb::Account {
    let request = pb::CreateAccountRequest {
        account: Some(account),
        account_id: id.to_owned(),
        ..Default::default()
    };
    let made = accounts(house).create_account(request).await.expect("an account");
    made.into_inner().account.unwrap()
}

pub async fn change_account(house: &House, account: pb::Account) -> Result<pb::Account, Status> {
    let request = pb::UpdateAccountRequest { account: Some(account), ..Default::default() };
    let changed = accounts(house).update_account(request).await?;
    Ok(changed.into_inner().account.unwrap())
}

pub async fn the_account(house: &House, id: &str) -> Result<pb::Account, Status> {
    let request = pb::GetAccountRequest { name: format!("accounts/{id}") };
    Ok(accounts(house).get_account(request).await?.into_inner().account.unwrap())
}

pub async fn add_route(house: &House, task: &str, route: pb::Route) -> pb::Route {
    let request = pb::CreateRouteRequest {
        route: Some(route),
        route_id: task.to_owned(),
        ..Default::default()
    };
    routes(house).create_route(request).await.expect("a route").into_inner().route.unwrap()
}

/// Whether an answer was given before.
pub fn is_replayed<T>(response: &Response<T>) -> bool {
    response.metadata().get("idempotent-replayed").is_some_and(|value| value == "true")
}

/// Who would be asked: each model with the word for it, and what would be asked first.
pub async fn resolved(
    house: &House,
    request: v1::ResolveTargetRequest,
) -> Result<v1::ResolveTargetResponse, Status> {
    Ok(house.client().raw().models().resolve_target(request).await?.into_inner())
}

pub async fn test_account(house: &House, id: &str) -> Result<pb::AccountTest, Status> {
    let request = pb::TestAccountRequest { name: format!("accounts/{id}"), ..Default::default() };
    Ok(accounts(house).test_account(request).await?.into_inner().account_test.unwrap())
}

pub async fn refresh(house: &House, parent: &str) -> Vec<pb::ModelRefresh> {
    let request = pb::RefreshModelsRequest { parent: parent.to_owned(), ..Default::default() };
    catalog(house).refresh_models(request).await.expect("an answer").into_inner().refreshes
}
