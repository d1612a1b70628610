//! Who serves a task.

use async_trait::async_trait;
use mediary_store::{Change, Error, Page, Paged, Result, Route, Routes, Saved, Version};
use sqlx::SqliteConnection;

use crate::{
    SqliteStore,
    columns::{just_after, rows_for, stamp},
    fault::{Fault, Result as Inner},
    unit::{Unit, may_change},
};

#[async_trait]
impl Routes for SqliteStore {
    async fn create(&self, route: Route, change: Change) -> Result<Saved<Route>> {
        self.writer.change(change, route, |unit, route| Box::pin(create(unit, route))).await
    }

    async fn get(&self, id: &str) -> Result<Option<Route>> {
        let (mut connection, limit) = self.reader().await?;
        limit.of_all(get(&mut connection, id)).await
    }

    async fn list(&self, page: Page) -> Result<Paged<Route>> {
        let (mut connection, limit) = self.reader().await?;
        let rows = list(&mut connection, just_after(page.after), rows_for(page.limit));
        let rows = limit.of_all(rows).await?;
        Ok(Paged::cut(rows, page.limit, |route| route.id.clone()))
    }

    async fn update(
        &self,
        route: Route,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<Route>> {
        let data = (route, only);
        self.writer.change(change, data, |unit, data| Box::pin(update(unit, data))).await
    }

    async fn put(&self, route: Route, change: Change) -> Result<Saved<Route>> {
        self.writer.change(change, route, |unit, route| Box::pin(put(unit, route))).await
    }

    async fn delete(&self, id: &str, only: Option<Version>, change: Change) -> Result<Saved<()>> {
        let data = (id.to_owned(), only);
        self.writer.change(change, data, |unit, data| Box::pin(delete(unit, data))).await
    }
}

async fn create(unit: &mut Unit<'_>, route: &Route) -> Inner<Saved<Route>> {
    if version_of(unit, &route.id).await?.is_some() {
        Err(Error::Exists(name(&route.id)))?;
    }
    put(unit, route).await
}

async fn update(
    unit: &mut Unit<'_>,
    (route, only): &(Route, Option<Version>),
) -> Inner<Saved<Route>> {
    let found = version_of(unit, &route.id).await?;
    if !may_change(found, *only, || name(&route.id))? {
        return Ok(Saved::Missing);
    }
    put(unit, route).await
}

async fn put(unit: &mut Unit<'_>, route: &Route) -> Inner<Saved<Route>> {
    let version = unit.next_version().await?;
    sqlx::query!(
        "INSERT INTO routes (id, origin, json, version, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT DO UPDATE SET origin = ?2, json = ?3, version = ?4, updated_at = ?5",
        route.id,
        route.origin,
        route.json,
        version,
        unit.at
    )
    .execute(&mut *unit.connection)
    .await?;
    Ok(get(unit.connection, &route.id).await?.map_or(Saved::Missing, Saved::Done))
}

async fn delete(unit: &mut Unit<'_>, (id, only): &(String, Option<Version>)) -> Inner<Saved<()>> {
    let found = version_of(unit, id).await?;
    if !may_change(found, *only, || name(id))? {
        return Ok(Saved::Missing);
    }
    unit.next_version().await?;
    sqlx::query!("DELETE FROM routes WHERE id = ?1", id).execute(&mut *unit.connection).await?;
    Ok(Saved::Done(()))
}

async fn version_of(unit: &mut Unit<'_>, id: &str) -> Inner<Option<i64>> {
    let found = sqlx::query_scalar!("SELECT version FROM routes WHERE id = ?1", id);
    Ok(found.fetch_optional(&mut *unit.connection).await?)
}

async fn get(connection: &mut SqliteConnection, id: &str) -> Inner<Option<Route>> {
    sqlx::query_as!(Columns, "SELECT * FROM routes WHERE id = ?1", id)
        .fetch_optional(connection)
        .await?
        .map(Route::try_from)
        .transpose()
}

/// By id, from this one on.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    from: String,
    count: i64,
) -> Inner<Vec<Route>> {
    let columns = sqlx::query_as!(
        Columns,
        "SELECT * FROM routes WHERE id >= ?1 ORDER BY id LIMIT ?2",
        from,
        count
    );
    columns.fetch_all(connection).await?.into_iter().map(Route::try_from).collect()
}

fn name(id: &str) -> String {
    format!("routes/{id}")
}

struct Columns {
    id: String,
    origin: String,
    json: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Columns> for Route {
    type Error = Fault;

    fn try_from(row: Columns) -> Inner<Self> {
        Ok(Self {
            id: row.id,
            origin: row.origin,
            json: row.json,
            stamp: stamp(row.version, row.created_at, row.updated_at)?,
        })
    }
}
