//! CreateAccount and UpdateAccount.

use mediary_domain::{Error, Result};
use mediary_proto::admin::{self as pb, CreateAccountRequest, UpdateAccountRequest};
use mediary_store::{Account as Row, AccountState, Secret as Kept, Stamp};
use tonic::{Request, Response};

use super::{
    AccountApi, CREATE, UPDATE, stored,
    wire::{self, NewCredential, Wanted},
};
use crate::{
    access::Role,
    registry::{Account, AccountSettings, AuthScheme, Entry, Moment, Origin},
    service::{
        change::{self, Changing, Effect},
        decide::{self, Resource as _, Turn},
        mask,
        model::no_provider,
        names,
    },
    vault,
};

impl AccountApi {
    pub(super) async fn create(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<pb::Account>> {
        let CreateAccountRequest { account, account_id, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, CREATE, &request, request_id)?;
        let given = account.clone().unwrap_or_default();
        let provider = wire::provider(&given.provider)?.to_owned();
        let id = match account_id.as_str() {
            "" => self.clock.resource_id('a'),
            id => names::chosen_id("account_id", id).map(|()| id.to_owned())?,
        };
        let name = format!("accounts/{id}");
        let wanted = wire::parse(&id, &provider, given)?;
        let shown = |name: &str| self.get(name, Role::Admin);
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            if stored(&moment, &id).is_some() || moment.snapshot.accounts.contains_key(&id) {
                return Err(decide::exists(&name));
            }
            let entry = at(&moment, &provider)?;
            if wanted.credential.is_none() && entry.row.auth.required {
                let problem = format!("{} wants a key: send it, or secret_ref", entry.row.name());
                return Err(Error::field("account.api_key", problem));
            }
            let row = Row {
                id: id.clone(),
                provider: provider.clone(),
                display_name: String::new(),
                secret: Kept::None,
                key_hint: String::new(),
                key_fingerprint: String::new(),
                state: AccountState::Active,
                origin: Origin::Manual.as_str().to_owned(),
                settings_json: String::new(),
                stamp: Stamp::default(),
            };
            let row = self.filled(row, &wanted, entry, None)?;
            let (row, after) = self.tried(&moment, row).await?;
            if *validate_only {
                return Ok(Response::new(after));
            }
            let effect = Effect {
                resource: name.clone(),
                after: Some(change::hash(&after.without_etag())),
                ..Effect::default()
            };
            let change = changing.change(effect).based_on(moment.rows.version);
            let saved = self.store.accounts().create(row, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return made.answer(shown);
            }
        }
    }

    pub(super) async fn update(
        &self,
        request: Request<UpdateAccountRequest>,
    ) -> Result<Response<pb::Account>> {
        let UpdateAccountRequest { account, update_mask, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, UPDATE, &request, request_id)?;
        let given = account.clone().unwrap_or_default();
        let name = &given.name;
        let id = names::id_in("account.name", name, wire::COLLECTION)?;
        let shown = |name: &str| self.get(name, Role::Admin);
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut turn = Turn::at(&self.keeper, name).await;
        loop {
            let moment = turn.moment().await?;
            let known = moment.snapshot.accounts.get(id).ok_or_else(|| wire::missing(name))?;
            let before = wire::view(known, Role::Admin);
            decide::check_etag(&given.etag, &before.etag, name)?;
            let masked = mask::lay(&before, &given, update_mask.as_ref(), wire::NOT_SET)?;
            if masked.resource.provider != before.provider {
                let problem = "cannot be changed: make another account";
                return Err(Error::field("account.provider", problem));
            }
            let wanted = wire::parse(id, &known.provider, masked.resource)?;
            let entry = at(&moment, &known.provider)?;
            let row = stored(&moment, id).cloned();
            let row = row.unwrap_or_else(|| super::overlay(known, known.state));
            let row = self.filled(row, &wanted, entry, Some(known))?;
            let (row, after) = self.tried(&moment, row).await?;
            if *validate_only {
                return Ok(Response::new(after));
            }
            let effect = Effect {
                resource: name.clone(),
                before: Some(change::hash(&before)),
                after: Some(change::hash(&after.without_etag())),
                fields: masked.fields,
            };
            let change = changing.change(effect).based_on(moment.rows.version);
            let accounts = self.store.accounts();
            let saved = if stored(&moment, id).is_some() {
                accounts.update(row, None, change).await
            } else {
                accounts.create(row, change).await
            };
            if let Some(made) = turn.kept(saved).await? {
                return made.answer(shown);
            }
        }
    }

    /// The row with what is wanted in it. A key stays with the address that it was given for.
    fn filled(
        &self,
        row: Row,
        wanted: &Wanted,
        entry: &Entry,
        before: Option<&Account>,
    ) -> Result<Row> {
        let base = self.keeper.base();
        let mut settings = wanted.settings.clone();
        let configured = base.configured_address(&row.id, &row.origin);
        // What stands below stays below, so that a change there is seen.
        if settings.base_uri == configured {
            settings.base_uri.clear();
        }
        let own = [settings.base_uri.as_str(), configured].into_iter().find(|one| !one.is_empty());
        let address = own.map_or_else(|| base.address(&entry.row), str::to_owned);
        if address.is_empty() && entry.row.auth.scheme != AuthScheme::None {
            let problem = "is required: the provider has an address for each customer";
            return Err(Error::field("account.base_uri", problem));
        }
        let old: AccountSettings = serde_json::from_str(&row.settings_json).unwrap_or_default();
        let mut row = Row { display_name: wanted.display_name.clone(), ..row };
        match &wanted.credential {
            None => {
                // Its own key, or that of the configuration.
                let has_key = before.is_some_and(|before| !before.key_fingerprint.is_empty());
                let key_for = match row.secret {
                    Kept::None => before.filter(|_| has_key).map(|before| before.base_uri.clone()),
                    Kept::Sealed(_) | Kept::Reference(_) => Some(old.key_for.clone()),
                };
                settings.key_for = old.key_for;
                let moves = before.is_some_and(|before| before.base_uri != address);
                if moves && key_for.is_some_and(|key_for| key_for != address) {
                    let problem = "must be sent again with another base_uri: a key is sent only \
                                   to the address that it was given for";
                    return Err(Error::field("account.api_key", problem));
                }
            }
            Some(NewCredential::Key(key)) => {
                let vault = base.vault();
                row.secret = Kept::Sealed(vault.seal(&format!("accounts/{}", row.id), key)?);
                row.key_hint = vault::hint(key);
                row.key_fingerprint = vault.fingerprint(key);
                settings.key_for = address;
            }
            Some(NewCredential::Reference(reference)) => {
                base.may_follow(reference, &row.provider, &address)
                    .map_err(|problem| Error::field("account.secret_ref", problem))?;
                row.secret = Kept::Reference(reference.clone());
                row.key_hint = String::new();
                row.key_fingerprint = String::new();
                settings.key_for = address;
            }
        }
        if wanted.credential.is_some() && row.state == AccountState::CredentialsRejected {
            row.state = AccountState::Active;
        }
        row.settings_json = serde_json::to_string(&settings)
            .map_err(|_| Error::bug("the settings of an account cannot be written"))?;
        Ok(row)
    }

    /// The row and what it would make.
    async fn tried(&self, moment: &Moment, row: Row) -> Result<(Row, pb::Account)> {
        let name = format!("accounts/{}", row.id);
        let mut rows = moment.rows.clone();
        rows.accounts.retain(|one| one.id != row.id);
        rows.accounts.push(row.clone());
        let (trial, complaints) = self.keeper.try_out(rows).await?;
        let Some(account) = trial.accounts.get(&row.id) else {
            decide::taken(&complaints, &name, "account")?;
            return Err(Error::bug("an account was not taken, and nothing is wrong with it"));
        };
        Ok((row, wire::view(account, Role::Admin)))
    }
}

fn at<'a>(moment: &'a Moment, provider: &str) -> Result<&'a Entry> {
    let entry = moment.snapshot.providers.get(provider);
    entry.ok_or_else(|| no_provider(&format!("providers/{provider}")))
}
