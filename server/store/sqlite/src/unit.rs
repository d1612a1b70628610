//! One unit of work inside a transaction: the effect of one call and everything kept with it.
//!
//! Owns: the order of the steps, the record of the request id, the version. Leaves: when it is
//! committed, and with whom (`writer`).

use futures::future::BoxFuture;
use mediary_store::{Change, Error, Request, Saved, Version};
use sqlx::SqliteConnection;

use crate::{
    audit,
    columns::{from_column, to_column},
    fault::Result,
};

/// What an effect works with.
pub(crate) struct Unit<'c> {
    pub connection: &'c mut SqliteConnection,
    /// When it happens, in microseconds.
    pub at: i64,
    version: Option<Version>,
}

/// An effect: a function over data that it may be given more than once.
pub(crate) type Effect<D, T> =
    for<'a, 'c> fn(&'a mut Unit<'c>, &'a D) -> BoxFuture<'a, Result<Saved<T>>>;

impl<'c> Unit<'c> {
    pub fn new(connection: &'c mut SqliteConnection, at: i64) -> Self {
        Self { connection, at, version: None }
    }

    /// The version that the rows of this unit get. The first call takes it.
    pub async fn next_version(&mut self) -> Result<i64> {
        if let Some(version) = self.version {
            return Ok(to_column(version));
        }
        let next = sqlx::query_scalar!(
            r#"UPDATE registry SET version = version + 1 RETURNING version AS "version!""#
        )
        .fetch_one(&mut *self.connection)
        .await?;
        self.version = Some(from_column(next)?);
        Ok(next)
    }

    /// The version that it took, if it changed the registry.
    pub fn taken(&self) -> Option<Version> {
        self.version
    }
}

/// Runs an effect with what goes with it. Anything but `Done` must be rolled back.
pub(crate) async fn apply<D: Sync, T>(
    unit: &mut Unit<'_>,
    change: &Change,
    effect: Effect<D, T>,
    data: &D,
) -> Result<Saved<T>> {
    if let Some(request) = &change.request
        && let Some(resource) = seen_before(unit, request).await?
    {
        return Ok(Saved::Replayed(resource));
    }
    if let Some(expected) = change.based_on
        && current_version(unit.connection).await? != expected
    {
        Err(Error::Outdated)?;
    }
    let saved = effect(unit, data).await?;
    if let (Saved::Done(_), Some(event)) = (&saved, &change.audit) {
        audit::insert(unit.connection, event).await?;
    }
    Ok(saved)
}

/// Records the request. If it was recorded before, the resource that it was for.
async fn seen_before(unit: &mut Unit<'_>, request: &Request) -> Result<Option<String>> {
    let Request { key, payload_hash, resource, window } = request;
    let hash = payload_hash.as_slice();
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    let ends_at = unit.at.saturating_add(window);
    let recorded = sqlx::query!(
        "INSERT INTO requests (owner, method, request_id, payload_hash, resource, ends_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET payload_hash = ?4, resource = ?5, ends_at = ?6
         WHERE ends_at <= ?7",
        key.owner,
        key.method,
        key.request_id,
        hash,
        resource,
        ends_at,
        unit.at
    )
    .execute(&mut *unit.connection)
    .await?;
    if recorded.rows_affected() > 0 {
        return Ok(None);
    }
    let earlier = sqlx::query!(
        "SELECT payload_hash, resource FROM requests
         WHERE owner = ?1 AND method = ?2 AND request_id = ?3",
        key.owner,
        key.method,
        key.request_id
    )
    .fetch_one(&mut *unit.connection)
    .await?;
    if earlier.payload_hash != hash {
        Err(Error::RequestIdReused)?;
    }
    Ok(Some(earlier.resource))
}

pub(crate) async fn current_version(connection: &mut SqliteConnection) -> Result<Version> {
    let version = sqlx::query_scalar!("SELECT version FROM registry").fetch_one(connection).await?;
    from_column(version)
}

/// Whether a row that was found at this version may be changed. `false` = there is none.
pub(crate) fn may_change(
    found: Option<i64>,
    only: Option<Version>,
    name: impl FnOnce() -> String,
) -> Result<bool> {
    let Some(found) = found else { return Ok(false) };
    let found = from_column(found)?;
    if only.is_some_and(|only| only != found) {
        Err(Error::EtagMismatch(name()))?;
    }
    Ok(true)
}
