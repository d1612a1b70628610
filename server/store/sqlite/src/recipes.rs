//! Presets and workflows.

use async_trait::async_trait;
use mediary_store::{Change, Error, RecipeKey, RecipeRow, Recipes, Result, Saved};
use sqlx::SqliteConnection;

use crate::{
    SqliteStore,
    columns::stamp,
    fault::{Fault, Result as Inner},
    unit::Unit,
};

#[async_trait]
impl Recipes for SqliteStore {
    async fn all(&self) -> Result<Vec<RecipeRow>> {
        let (mut connection, limit) = self.reader().await?;
        limit.of_all(all(&mut connection)).await
    }

    async fn get(&self, key: &RecipeKey) -> Result<Option<RecipeRow>> {
        let (mut connection, limit) = self.reader().await?;
        limit.of_all(get(&mut connection, key)).await
    }

    async fn put(&self, row: RecipeRow, change: Change) -> Result<Saved<RecipeRow>> {
        self.writer.change(change, row, |unit, row| Box::pin(put(unit, row))).await
    }

    async fn delete(&self, keys: Vec<RecipeKey>, change: Change) -> Result<Saved<()>> {
        self.writer.change(change, keys, |unit, keys| Box::pin(delete(unit, keys))).await
    }
}

async fn put(unit: &mut Unit<'_>, row: &RecipeRow) -> Inner<Saved<RecipeRow>> {
    let version = unit.next_version().await?;
    let (kind, id) = (row.key.kind(), row.key.id());
    sqlx::query!(
        "INSERT INTO recipes (kind, id, origin, json, version, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
         ON CONFLICT DO UPDATE SET origin = ?3, json = ?4, version = ?5, updated_at = ?6",
        kind,
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

async fn delete(unit: &mut Unit<'_>, keys: &[RecipeKey]) -> Inner<Saved<()>> {
    let mut gone = 0;
    for key in keys {
        let (kind, id) = (key.kind(), key.id());
        gone += sqlx::query!("DELETE FROM recipes WHERE kind = ?1 AND id = ?2", kind, id)
            .execute(&mut *unit.connection)
            .await?
            .rows_affected();
        if let RecipeKey::Preset(id) = key {
            sqlx::query!("DELETE FROM learned WHERE preset = ?1", id)
                .execute(&mut *unit.connection)
                .await?;
        }
    }
    if gone == 0 {
        return Ok(Saved::Missing);
    }
    unit.next_version().await?;
    Ok(Saved::Done(()))
}

async fn get(connection: &mut SqliteConnection, key: &RecipeKey) -> Inner<Option<RecipeRow>> {
    let (kind, id) = (key.kind(), key.id());
    sqlx::query_as!(Columns, "SELECT * FROM recipes WHERE kind = ?1 AND id = ?2", kind, id)
        .fetch_optional(connection)
        .await?
        .map(RecipeRow::try_from)
        .transpose()
}

/// Presets first, each kind by id.
pub(crate) async fn all(connection: &mut SqliteConnection) -> Inner<Vec<RecipeRow>> {
    let columns = sqlx::query_as!(Columns, "SELECT * FROM recipes ORDER BY kind, id");
    columns.fetch_all(connection).await?.into_iter().map(RecipeRow::try_from).collect()
}

struct Columns {
    kind: String,
    id: String,
    origin: String,
    json: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Columns> for RecipeRow {
    type Error = Fault;

    fn try_from(row: Columns) -> Inner<Self> {
        let key = RecipeKey::from_parts(&row.kind, row.id);
        Ok(Self {
            key: key.ok_or_else(|| Error::Corrupt(format!("a recipe is a {}", row.kind)))?,
            origin: row.origin,
            json: row.json,
            stamp: stamp(row.version, row.created_at, row.updated_at)?,
        })
    }
}
