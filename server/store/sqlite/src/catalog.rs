//! Providers and models.

use async_trait::async_trait;
use mediary_store::{
    CatalogKey, CatalogRow, CatalogRows, Change, Error, Removed, Result, Saved, Version,
};
use sqlx::SqliteConnection;

use crate::{
    SqliteStore,
    columns::stamp,
    fault::{Fault, Result as Inner},
    unit::{Unit, may_change},
};

#[async_trait]
impl CatalogRows for SqliteStore {
    async fn all(&self) -> Result<Vec<CatalogRow>> {
        let (mut connection, limit) = self.reader().await?;
        limit.of_all(all(&mut connection)).await
    }

    async fn get(&self, key: &CatalogKey) -> Result<Option<CatalogRow>> {
        let (mut connection, limit) = self.reader().await?;
        limit.of_all(get(&mut connection, key)).await
    }

    async fn create(&self, row: CatalogRow, change: Change) -> Result<Saved<CatalogRow>> {
        self.writer.change(change, row, |unit, row| Box::pin(create(unit, row))).await
    }

    async fn update(
        &self,
        row: CatalogRow,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<CatalogRow>> {
        let data = (row, only);
        self.writer.change(change, data, |unit, data| Box::pin(update(unit, data))).await
    }

    async fn put(&self, rows: Vec<CatalogRow>, change: Change) -> Result<Saved<Vec<CatalogRow>>> {
        self.writer.change(change, rows, |unit, rows| Box::pin(put_all(unit, rows))).await
    }

    async fn delete(
        &self,
        key: &CatalogKey,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<()>> {
        let data = (key.clone(), only);
        self.writer.change(change, data, |unit, data| Box::pin(delete(unit, data))).await
    }

    async fn delete_provider(
        &self,
        id: &str,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<Removed>> {
        let data = (CatalogKey::Provider(id.to_owned()), only);
        self.writer.change(change, data, |unit, data| Box::pin(delete_provider(unit, data))).await
    }
}

async fn create(unit: &mut Unit<'_>, row: &CatalogRow) -> Inner<Saved<CatalogRow>> {
    if version_of(unit, &row.key).await?.is_some() {
        Err(Error::Exists(row.key.to_string()))?;
    }
    put(unit, row).await
}

async fn update(
    unit: &mut Unit<'_>,
    (row, only): &(CatalogRow, Option<Version>),
) -> Inner<Saved<CatalogRow>> {
    let found = version_of(unit, &row.key).await?;
    if !may_change(found, *only, || row.key.to_string())? {
        return Ok(Saved::Missing);
    }
    put(unit, row).await
}

async fn put_all(unit: &mut Unit<'_>, rows: &[CatalogRow]) -> Inner<Saved<Vec<CatalogRow>>> {
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        kept.extend(put(unit, row).await?.done());
    }
    Ok(Saved::Done(kept))
}

async fn put(unit: &mut Unit<'_>, row: &CatalogRow) -> Inner<Saved<CatalogRow>> {
    let version = unit.next_version().await?;
    let (kind, parent, id) = (row.key.kind(), row.key.parent(), row.key.id());
    sqlx::query!(
        "INSERT INTO catalog (kind, parent, id, origin, json, version, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
         ON CONFLICT DO UPDATE SET origin = ?4, json = ?5, version = ?6, updated_at = ?7",
        kind,
        parent,
        id,
        row.origin,
        row.json,
        version,
        unit.at
    )
    .execute(&mut *unit.connection)
    .await?;
    Ok(get(unit.connection, &row.key).await?.map_or(Saved::Missing, Saved::Done))
}

async fn delete(
    unit: &mut Unit<'_>,
    (key, only): &(CatalogKey, Option<Version>),
) -> Inner<Saved<()>> {
    let found = version_of(unit, key).await?;
    if !may_change(found, *only, || key.to_string())? {
        return Ok(Saved::Missing);
    }
    unit.next_version().await?;
    let (kind, parent, id) = (key.kind(), key.parent(), key.id());
    sqlx::query!(
        "DELETE FROM catalog WHERE kind = ?1 AND parent = ?2 AND id = ?3",
        kind,
        parent,
        id
    )
    .execute(&mut *unit.connection)
    .await?;
    Ok(Saved::Done(()))
}

async fn delete_provider(
    unit: &mut Unit<'_>,
    data: &(CatalogKey, Option<Version>),
) -> Inner<Saved<Removed>> {
    if delete(unit, data).await? == Saved::Missing {
        return Ok(Saved::Missing);
    }
    let provider = data.0.id();
    let models = sqlx::query!("DELETE FROM catalog WHERE kind = 'model' AND parent = ?1", provider)
        .execute(&mut *unit.connection)
        .await?
        .rows_affected();
    let accounts = sqlx::query!("DELETE FROM accounts WHERE provider = ?1", provider)
        .execute(&mut *unit.connection)
        .await?
        .rows_affected();
    Ok(Saved::Done(Removed { models, accounts }))
}

async fn version_of(unit: &mut Unit<'_>, key: &CatalogKey) -> Inner<Option<i64>> {
    let (kind, parent, id) = (key.kind(), key.parent(), key.id());
    let found = sqlx::query_scalar!(
        "SELECT version FROM catalog WHERE kind = ?1 AND parent = ?2 AND id = ?3",
        kind,
        parent,
        id
    );
    Ok(found.fetch_optional(&mut *unit.connection).await?)
}

async fn get(connection: &mut SqliteConnection, key: &CatalogKey) -> Inner<Option<CatalogRow>> {
    let (kind, parent, id) = (key.kind(), key.parent(), key.id());
    sqlx::query_as!(
        Columns,
        "SELECT * FROM catalog WHERE kind = ?1 AND parent = ?2 AND id = ?3",
        kind,
        parent,
        id
    )
    .fetch_optional(connection)
    .await?
    .map(CatalogRow::try_from)
    .transpose()
}

/// Providers first, each kind by parent and id.
pub(crate) async fn all(connection: &mut SqliteConnection) -> Inner<Vec<CatalogRow>> {
    let columns = sqlx::query_as!(Columns, "SELECT * FROM catalog ORDER BY kind DESC, parent, id");
    columns.fetch_all(connection).await?.into_iter().map(CatalogRow::try_from).collect()
}

struct Columns {
    kind: String,
    parent: String,
    id: String,
    origin: String,
    json: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Columns> for CatalogRow {
    type Error = Fault;

    fn try_from(row: Columns) -> Inner<Self> {
        let key = CatalogKey::from_parts(&row.kind, row.parent, row.id)
            .ok_or_else(|| Error::Corrupt(format!("a catalog row is a {:?}", row.kind)))?;
        Ok(Self {
            key,
            origin: row.origin,
            json: row.json,
            stamp: stamp(row.version, row.created_at, row.updated_at)?,
        })
    }
}
