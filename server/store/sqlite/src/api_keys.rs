//! Keys with which callers reach Mediary.

use std::time::SystemTime;

use async_trait::async_trait;
use mediary_store::{
    ApiKey, ApiKeys, Change, Error, Page, Paged, Result, Saved, Version, from_micros, to_micros,
};
use sqlx::SqliteConnection;

use crate::{
    SqliteStore,
    columns::{hash, just_after, rows_for, stamp},
    fault::{Fault, Result as Inner},
    unit::{Unit, may_change},
};

#[async_trait]
impl ApiKeys for SqliteStore {
    async fn create(&self, key: ApiKey, change: Change) -> Result<Saved<ApiKey>> {
        self.writer.change(change, key, |unit, key| Box::pin(create(unit, key))).await
    }

    async fn get(&self, id: &str) -> Result<Option<ApiKey>> {
        let (mut connection, limit) = self.reader().await?;
        limit.of_all(get(&mut connection, id)).await
    }

    async fn by_prefix(&self, prefix: &str) -> Result<Option<ApiKey>> {
        let (mut connection, limit) = self.reader().await?;
        limit
            .of_all(async {
                sqlx::query_as!(Columns, "SELECT * FROM api_keys WHERE prefix = ?1", prefix)
                    .fetch_optional(&mut *connection)
                    .await?
                    .map(ApiKey::try_from)
                    .transpose()
            })
            .await
    }

    async fn list(&self, page: Page) -> Result<Paged<ApiKey>> {
        let (mut connection, limit) = self.reader().await?;
        let rows = list(&mut connection, just_after(page.after), rows_for(page.limit));
        let rows = limit.of_all(rows).await?;
        Ok(Paged::cut(rows, page.limit, |key| key.id.clone()))
    }

    async fn update(
        &self,
        key: ApiKey,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<ApiKey>> {
        let data = (key, only);
        self.writer.change(change, data, |unit, data| Box::pin(update(unit, data))).await
    }

    async fn delete(&self, id: &str, only: Option<Version>, change: Change) -> Result<Saved<()>> {
        let data = (id.to_owned(), only);
        self.writer.change(change, data, |unit, data| Box::pin(delete(unit, data))).await
    }

    async fn touch(&self, used: Vec<(String, SystemTime)>) -> Result<u64> {
        self.writer.note(used, |unit, used| Box::pin(touch(unit, used))).await
    }
}

async fn create(unit: &mut Unit<'_>, key: &ApiKey) -> Inner<Saved<ApiKey>> {
    let version = unit.next_version().await?;
    let secret_hash = key.secret_hash.as_slice();
    let expires_at = key.expire_time.map(to_micros);
    let made = sqlx::query!(
        "INSERT INTO api_keys (id, prefix, secret_hash, key_hint, owner, display_name, role,
             enabled, expires_at, settings_json, version, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)
         ON CONFLICT DO NOTHING",
        key.id,
        key.prefix,
        secret_hash,
        key.key_hint,
        key.owner,
        key.display_name,
        key.role,
        key.enabled,
        expires_at,
        key.settings_json,
        version,
        unit.at
    )
    .execute(&mut *unit.connection)
    .await?;
    if made.rows_affected() == 0 {
        Err(Error::Exists(name(&key.id)))?;
    }
    kept(unit, &key.id).await
}

async fn update(
    unit: &mut Unit<'_>,
    (key, only): &(ApiKey, Option<Version>),
) -> Inner<Saved<ApiKey>> {
    let found = sqlx::query_scalar!("SELECT version FROM api_keys WHERE id = ?1", key.id)
        .fetch_optional(&mut *unit.connection)
        .await?;
    if !may_change(found, *only, || name(&key.id))? {
        return Ok(Saved::Missing);
    }
    let version = unit.next_version().await?;
    let expires_at = key.expire_time.map(to_micros);
    sqlx::query!(
        "UPDATE api_keys SET display_name = ?2, role = ?3, enabled = ?4, expires_at = ?5,
             settings_json = ?6, version = ?7, updated_at = ?8
         WHERE id = ?1",
        key.id,
        key.display_name,
        key.role,
        key.enabled,
        expires_at,
        key.settings_json,
        version,
        unit.at
    )
    .execute(&mut *unit.connection)
    .await?;
    kept(unit, &key.id).await
}

async fn delete(unit: &mut Unit<'_>, (id, only): &(String, Option<Version>)) -> Inner<Saved<()>> {
    let found = sqlx::query_scalar!("SELECT version FROM api_keys WHERE id = ?1", id)
        .fetch_optional(&mut *unit.connection)
        .await?;
    if !may_change(found, *only, || name(id))? {
        return Ok(Saved::Missing);
    }
    unit.next_version().await?;
    sqlx::query!("DELETE FROM api_keys WHERE id = ?1", id).execute(&mut *unit.connection).await?;
    Ok(Saved::Done(()))
}

async fn touch(unit: &mut Unit<'_>, used: &[(String, SystemTime)]) -> Inner<Saved<u64>> {
    let mut found = 0;
    for (id, at) in used {
        let at = to_micros(*at);
        found += sqlx::query!(
            "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, ?2), ?2) WHERE id = ?1",
            id,
            at
        )
        .execute(&mut *unit.connection)
        .await?
        .rows_affected();
    }
    Ok(Saved::Done(found))
}

async fn kept(unit: &mut Unit<'_>, id: &str) -> Inner<Saved<ApiKey>> {
    Ok(get(unit.connection, id).await?.map_or(Saved::Missing, Saved::Done))
}

async fn get(connection: &mut SqliteConnection, id: &str) -> Inner<Option<ApiKey>> {
    sqlx::query_as!(Columns, "SELECT * FROM api_keys WHERE id = ?1", id)
        .fetch_optional(connection)
        .await?
        .map(ApiKey::try_from)
        .transpose()
}

/// By id, from this one on.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    from: String,
    count: i64,
) -> Inner<Vec<ApiKey>> {
    let columns = sqlx::query_as!(
        Columns,
        "SELECT * FROM api_keys WHERE id >= ?1 ORDER BY id LIMIT ?2",
        from,
        count
    );
    columns.fetch_all(connection).await?.into_iter().map(ApiKey::try_from).collect()
}

fn name(id: &str) -> String {
    format!("apiKeys/{id}")
}

struct Columns {
    id: String,
    prefix: String,
    secret_hash: Vec<u8>,
    key_hint: String,
    owner: String,
    display_name: String,
    role: String,
    enabled: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    settings_json: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Columns> for ApiKey {
    type Error = Fault;

    fn try_from(row: Columns) -> Inner<Self> {
        Ok(Self {
            secret_hash: hash(row.secret_hash, &row.id)?,
            id: row.id,
            prefix: row.prefix,
            key_hint: row.key_hint,
            owner: row.owner,
            display_name: row.display_name,
            role: row.role,
            enabled: row.enabled != 0,
            expire_time: row.expires_at.map(from_micros),
            last_used_time: row.last_used_at.map(from_micros),
            settings_json: row.settings_json,
            stamp: stamp(row.version, row.created_at, row.updated_at)?,
        })
    }
}
