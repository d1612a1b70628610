//! AccountService: accounts at providers. Secrets go in and never come out.
//!
//! Owns: the RPCs, and which key goes where. Leaves: how an account looks (`wire`), sealing keys
//! (`vault`), what is made of the rows (`registry`), asking the provider (`probe`).

mod probe;
mod rejection;
mod save;
mod wire;

use std::sync::Arc;

use mediary_domain::Result;
use mediary_proto::admin::{
    self as pb, CreateAccountRequest, CreateAccountResponse, DeleteAccountRequest,
    DeleteAccountResponse, DisableAccountRequest, DisableAccountResponse, EnableAccountRequest,
    EnableAccountResponse, GetAccountRequest, GetAccountResponse, ListAccountsRequest,
    ListAccountsResponse, TestAccountRequest, TestAccountResponse, UpdateAccountRequest,
    UpdateAccountResponse, account_service_server::AccountService,
};
use mediary_store::{Account as Row, AccountState, Change, Saved, Secret as Kept, Shared};
use tonic::{Request, Response, Status};

use super::{
    change::{self, Changing, Effect},
    decide::{self, Turn},
    listing::{Asked, PageTokens},
    names,
};
use crate::{
    access::Role,
    clock::Clock,
    error::status,
    registry::{Account, Keeper, Moment, Registry},
    routing::Accounts,
};

const CREATE: &str = "mediary.admin.v1.AccountService.CreateAccount";
const UPDATE: &str = "mediary.admin.v1.AccountService.UpdateAccount";
const DELETE: &str = "mediary.admin.v1.AccountService.DeleteAccount";
const ENABLE: &str = "mediary.admin.v1.AccountService.EnableAccount";
const DISABLE: &str = "mediary.admin.v1.AccountService.DisableAccount";
const TEST: &str = "mediary.admin.v1.AccountService.TestAccount";

pub const METHODS: &[&str] = &[
    CREATE,
    "mediary.admin.v1.AccountService.GetAccount",
    wire::ACCOUNTS.rpc,
    UPDATE,
    DELETE,
    ENABLE,
    DISABLE,
    TEST,
];

#[derive(Clone)]
pub struct AccountApi {
    store: Shared,
    keeper: Arc<Keeper>,
    registry: Registry,
    accounts: Accounts,
    pages: Arc<PageTokens>,
    clock: Clock,
}

impl AccountApi {
    pub fn new(
        store: Shared,
        keeper: Arc<Keeper>,
        registry: Registry,
        accounts: Accounts,
        pages: Arc<PageTokens>,
        clock: Clock,
    ) -> Self {
        Self { store, keeper, registry, accounts, pages, clock }
    }

    fn get(&self, name: &str, role: Role) -> Result<pb::Account> {
        let id = names::id_in("name", name, wire::COLLECTION)?;
        let snapshot = self.registry.now();
        let account = snapshot.accounts.get(id).ok_or_else(|| wire::missing(name))?;
        Ok(wire::shown(account, &self.accounts.standing(account), role))
    }

    fn list(&self, request: &Request<ListAccountsRequest>) -> Result<ListAccountsResponse> {
        let caller = change::caller(request)?;
        let ListAccountsRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked {
            owner: &caller.owner,
            parent: "",
            filter,
            order_by,
            page_size: *page_size,
            page_token,
        };
        let snapshot = self.registry.now();
        let rows = snapshot.accounts.values();
        let rows = rows.map(|account| wire::View::new(account, self.accounts.standing(account)));
        let page = wire::ACCOUNTS.page(rows, &asked, &self.pages)?;
        let accounts = page.rows.iter();
        let accounts = accounts.map(|view| wire::shown(view.account, &view.standing, caller.role));
        Ok(ListAccountsResponse {
            accounts: accounts.collect(),
            next_page_token: page.next_page_token,
        })
    }

    async fn delete(&self, request: Request<DeleteAccountRequest>) -> Result<Response<()>> {
        let DeleteAccountRequest { name, etag, allow_missing, request_id, .. } = request.get_ref();
        let changing = Changing::begin(&self.clock, DELETE, &request, request_id)?;
        let id = names::id_in("name", name, wire::COLLECTION)?;
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return Ok(made.gone());
        }
        let mut turn = Turn::at(&self.keeper, name).await;
        loop {
            let moment = turn.moment().await?;
            let known = moment.snapshot.accounts.get(id);
            let Some(row) = stored(&moment, id) else {
                if known.is_some() {
                    let mend = "take it out of the configuration or unset its variable, or disable \
                                it here";
                    return Err(decide::not_ours(name, mend));
                }
                return decide::gone(*allow_missing, || wire::missing(name));
            };
            decide::check_etag(etag, &decide::etag(&row.stamp), name)?;
            let before = known.map(|known| wire::view(known, Role::Admin));
            let change = changing.deletion(name, before.as_ref()).based_on(moment.rows.version);
            let saved = self.store.accounts().delete(id, None, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return Ok(made.gone());
            }
        }
    }

    /// Enables or disables. One of the configuration or the environment gets a row over it.
    async fn stand(
        &self,
        changing: Changing,
        name: &str,
        etag: &str,
        state: AccountState,
    ) -> Result<Response<pb::Account>> {
        let role = changing.caller.role;
        let id = names::id_in("name", name, wire::COLLECTION)?;
        let shown = |name: &str| self.get(name, role);
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut turn = Turn::at(&self.keeper, name).await;
        loop {
            let moment = turn.moment().await?;
            let known = moment.snapshot.accounts.get(id).ok_or_else(|| wire::missing(name))?;
            decide::check_etag(etag, &wire::view(known, Role::Admin).etag, name)?;
            if known.state == state {
                return Ok(Response::new(wire::view(known, role)));
            }
            let change = changing.change(effect(known, state));
            let saved = self.put_state(&moment, known, state, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return made.answer(shown);
            }
        }
    }

    async fn put_state(
        &self,
        moment: &Moment,
        known: &Account,
        state: AccountState,
        change: Change,
    ) -> mediary_store::Result<Saved<Row>> {
        let change = change.based_on(moment.rows.version);
        let accounts = self.store.accounts();
        match stored(moment, &known.id) {
            // Which key it was: another in its place shall be tried.
            Some(row) if !matches!(row.secret, Kept::Sealed(_)) => {
                let key_fingerprint = known.key_fingerprint.clone();
                let row = Row { state, key_fingerprint, ..row.clone() };
                accounts.update(row, None, change).await
            }
            Some(_) => accounts.set_state(&known.id, state, None, change).await,
            None => accounts.create(overlay(known, state), change).await,
        }
    }
}

/// What a change of its state does.
fn effect(known: &Account, state: AccountState) -> Effect {
    let mut after = known.clone();
    after.state = state;
    Effect {
        resource: known.name(),
        before: Some(change::hash(&wire::view(known, Role::Admin))),
        after: Some(change::hash(&wire::view(&after, Role::Admin))),
        fields: vec!["state".to_owned()],
    }
}

/// The row of the store, be it readable or not.
fn stored<'a>(moment: &'a Moment, id: &str) -> Option<&'a Row> {
    moment.rows.accounts.iter().find(|row| row.id == id)
}

/// A row that lies over an account of the configuration or the environment and changes nothing
/// but how it stands.
fn overlay(below: &Account, state: AccountState) -> Row {
    Row {
        id: below.id.clone(),
        provider: below.provider.clone(),
        display_name: below.display_name.clone(),
        secret: Kept::None,
        key_hint: String::new(),
        key_fingerprint: below.key_fingerprint.clone(),
        state,
        origin: below.origin.as_str().to_owned(),
        settings_json: String::new(),
        stamp: mediary_store::Stamp::default(),
    }
}

#[tonic::async_trait]
impl AccountService for AccountApi {
    async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<CreateAccountResponse>, Status> {
        let saved = self.create(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|account| CreateAccountResponse { account: Some(account) }))
    }

    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let account = change::caller(&request)
            .and_then(|caller| self.get(&request.get_ref().name, caller.role))
            .map_err(|error| status(&error))?;
        Ok(Response::new(GetAccountResponse { account: Some(account) }))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        self.list(&request).map(Response::new).map_err(|error| status(&error))
    }

    async fn update_account(
        &self,
        request: Request<UpdateAccountRequest>,
    ) -> Result<Response<UpdateAccountResponse>, Status> {
        let saved = self.update(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|account| UpdateAccountResponse { account: Some(account) }))
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        let gone = self.delete(request).await.map_err(|error| status(&error))?;
        Ok(gone.map(|()| DeleteAccountResponse {}))
    }

    async fn enable_account(
        &self,
        request: Request<EnableAccountRequest>,
    ) -> Result<Response<EnableAccountResponse>, Status> {
        let EnableAccountRequest { name, etag, request_id } = request.get_ref();
        let changing = Changing::begin(&self.clock, ENABLE, &request, request_id)
            .map_err(|error| status(&error))?;
        let stands = self.stand(changing, name, etag, AccountState::Active).await;
        let stands = stands.map_err(|error| status(&error))?;
        Ok(stands.map(|account| EnableAccountResponse { account: Some(account) }))
    }

    async fn disable_account(
        &self,
        request: Request<DisableAccountRequest>,
    ) -> Result<Response<DisableAccountResponse>, Status> {
        let DisableAccountRequest { name, etag, request_id } = request.get_ref();
        let changing = Changing::begin(&self.clock, DISABLE, &request, request_id)
            .map_err(|error| status(&error))?;
        let stands = self.stand(changing, name, etag, AccountState::Disabled).await;
        let stands = stands.map_err(|error| status(&error))?;
        Ok(stands.map(|account| DisableAccountResponse { account: Some(account) }))
    }

    async fn test_account(
        &self,
        request: Request<TestAccountRequest>,
    ) -> Result<Response<TestAccountResponse>, Status> {
        let found = self.test(request).await.map_err(|error| status(&error))?;
        Ok(Response::new(TestAccountResponse { account_test: Some(found) }))
    }
}
