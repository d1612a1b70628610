//! Accounts at providers.

use async_trait::async_trait;
use mediary_store::{
    Account, AccountState, Accounts, Change, Error, Page, Paged, Result, Saved, Sealed, Secret,
    Version,
};
use sqlx::SqliteConnection;

use crate::{
    SqliteStore,
    columns::{just_after, rows_for, stamp},
    fault::{Fault, Result as Inner},
    unit::{Unit, may_change},
};

#[async_trait]
impl Accounts for SqliteStore {
    async fn create(&self, account: Account, change: Change) -> Result<Saved<Account>> {
        self.writer.change(change, account, |unit, account| Box::pin(create(unit, account))).await
    }

    async fn get(&self, id: &str) -> Result<Option<Account>> {
        let (mut connection, limit) = self.reader().await?;
        limit.of_all(get(&mut connection, id)).await
    }

    async fn list(&self, page: Page) -> Result<Paged<Account>> {
        let (mut connection, limit) = self.reader().await?;
        let rows = list(&mut connection, just_after(page.after), rows_for(page.limit));
        let rows = limit.of_all(rows).await?;
        Ok(Paged::cut(rows, page.limit, |account| account.id.clone()))
    }

    async fn by_provider(&self, provider: &str) -> Result<Vec<Account>> {
        let (mut connection, limit) = self.reader().await?;
        limit
            .of_all(async {
                let columns = sqlx::query_as!(
                    Columns,
                    "SELECT * FROM accounts WHERE provider = ?1 ORDER BY id",
                    provider
                );
                rows(columns.fetch_all(&mut *connection).await?)
            })
            .await
    }

    async fn update(
        &self,
        account: Account,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<Account>> {
        let data = (account, only);
        self.writer.change(change, data, |unit, data| Box::pin(update(unit, data))).await
    }

    async fn set_state(
        &self,
        id: &str,
        state: AccountState,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<Account>> {
        let data = (id.to_owned(), state, only);
        self.writer.change(change, data, |unit, data| Box::pin(set_state(unit, data))).await
    }

    async fn delete(&self, id: &str, only: Option<Version>, change: Change) -> Result<Saved<()>> {
        let data = (id.to_owned(), only);
        self.writer.change(change, data, |unit, data| Box::pin(delete(unit, data))).await
    }
}

async fn create(unit: &mut Unit<'_>, account: &Account) -> Inner<Saved<Account>> {
    let version = unit.next_version().await?;
    let (sealed_by, sealed, secret_ref) = secret_columns(&account.secret);
    let state = account.state.as_str();
    let made = sqlx::query!(
        "INSERT INTO accounts (id, provider, display_name, sealed_by, sealed, secret_ref, key_hint,
             key_fingerprint, state, origin, settings_json, version, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13)
         ON CONFLICT DO NOTHING",
        account.id,
        account.provider,
        account.display_name,
        sealed_by,
        sealed,
        secret_ref,
        account.key_hint,
        account.key_fingerprint,
        state,
        account.origin,
        account.settings_json,
        version,
        unit.at
    )
    .execute(&mut *unit.connection)
    .await?;
    if made.rows_affected() == 0 {
        Err(Error::Exists(name(&account.id)))?;
    }
    kept(unit, &account.id).await
}

async fn update(
    unit: &mut Unit<'_>,
    (account, only): &(Account, Option<Version>),
) -> Inner<Saved<Account>> {
    let found = sqlx::query_scalar!("SELECT version FROM accounts WHERE id = ?1", account.id)
        .fetch_optional(&mut *unit.connection)
        .await?;
    if !may_change(found, *only, || name(&account.id))? {
        return Ok(Saved::Missing);
    }
    let version = unit.next_version().await?;
    let (sealed_by, sealed, secret_ref) = secret_columns(&account.secret);
    let state = account.state.as_str();
    sqlx::query!(
        "UPDATE accounts SET display_name = ?2, sealed_by = ?3, sealed = ?4, secret_ref = ?5,
             key_hint = ?6, key_fingerprint = ?7, state = ?8, settings_json = ?9, version = ?10,
             updated_at = ?11
         WHERE id = ?1",
        account.id,
        account.display_name,
        sealed_by,
        sealed,
        secret_ref,
        account.key_hint,
        account.key_fingerprint,
        state,
        account.settings_json,
        version,
        unit.at
    )
    .execute(&mut *unit.connection)
    .await?;
    kept(unit, &account.id).await
}

async fn set_state(
    unit: &mut Unit<'_>,
    (id, state, only): &(String, AccountState, Option<Version>),
) -> Inner<Saved<Account>> {
    let found = sqlx::query!("SELECT version, state FROM accounts WHERE id = ?1", id)
        .fetch_optional(&mut *unit.connection)
        .await?;
    if !may_change(found.as_ref().map(|row| row.version), *only, || name(id))? {
        return Ok(Saved::Missing);
    }
    let state = state.as_str();
    if found.is_some_and(|row| row.state != state) {
        let version = unit.next_version().await?;
        sqlx::query!(
            "UPDATE accounts SET state = ?2, version = ?3, updated_at = ?4 WHERE id = ?1",
            id,
            state,
            version,
            unit.at
        )
        .execute(&mut *unit.connection)
        .await?;
    }
    kept(unit, id).await
}

async fn delete(unit: &mut Unit<'_>, (id, only): &(String, Option<Version>)) -> Inner<Saved<()>> {
    let found = sqlx::query_scalar!("SELECT version FROM accounts WHERE id = ?1", id)
        .fetch_optional(&mut *unit.connection)
        .await?;
    if !may_change(found, *only, || name(id))? {
        return Ok(Saved::Missing);
    }
    unit.next_version().await?;
    sqlx::query!("DELETE FROM accounts WHERE id = ?1", id).execute(&mut *unit.connection).await?;
    Ok(Saved::Done(()))
}

async fn kept(unit: &mut Unit<'_>, id: &str) -> Inner<Saved<Account>> {
    Ok(get(unit.connection, id).await?.map_or(Saved::Missing, Saved::Done))
}

async fn get(connection: &mut SqliteConnection, id: &str) -> Inner<Option<Account>> {
    sqlx::query_as!(Columns, "SELECT * FROM accounts WHERE id = ?1", id)
        .fetch_optional(connection)
        .await?
        .map(Account::try_from)
        .transpose()
}

/// By id, from this one on.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    from: String,
    count: i64,
) -> Inner<Vec<Account>> {
    let columns = sqlx::query_as!(
        Columns,
        "SELECT * FROM accounts WHERE id >= ?1 ORDER BY id LIMIT ?2",
        from,
        count
    );
    rows(columns.fetch_all(connection).await?)
}

fn rows(columns: Vec<Columns>) -> Inner<Vec<Account>> {
    columns.into_iter().map(Account::try_from).collect()
}

fn name(id: &str) -> String {
    format!("accounts/{id}")
}

fn secret_columns(secret: &Secret) -> (Option<&str>, Option<&[u8]>, Option<&str>) {
    match secret {
        Secret::None => (None, None, None),
        Secret::Sealed(sealed) => (Some(&sealed.key_id), Some(&sealed.bytes), None),
        Secret::Reference(at) => (None, None, Some(at)),
    }
}

struct Columns {
    id: String,
    provider: String,
    display_name: String,
    sealed_by: Option<String>,
    sealed: Option<Vec<u8>>,
    secret_ref: Option<String>,
    key_hint: String,
    key_fingerprint: String,
    state: String,
    origin: String,
    settings_json: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Columns> for Account {
    type Error = Fault;

    fn try_from(row: Columns) -> Inner<Self> {
        let state = AccountState::parse(&row.state)
            .ok_or_else(|| Error::Corrupt(format!("{} stands {:?}", name(&row.id), row.state)))?;
        let secret = match (row.sealed_by, row.sealed, row.secret_ref) {
            (Some(key_id), Some(bytes), _) => Secret::Sealed(Sealed { key_id, bytes }),
            (_, _, Some(at)) => Secret::Reference(at),
            _ => Secret::None,
        };
        Ok(Self {
            id: row.id,
            provider: row.provider,
            display_name: row.display_name,
            secret,
            key_hint: row.key_hint,
            key_fingerprint: row.key_fingerprint,
            state,
            origin: row.origin,
            settings_json: row.settings_json,
            stamp: stamp(row.version, row.created_at, row.updated_at)?,
        })
    }
}
