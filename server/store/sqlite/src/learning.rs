//! What attempts have taught about the members of presets.

use async_trait::async_trait;
use mediary_store::{Learned, Learning, Result, Saved, from_micros, to_micros};

use crate::{SqliteStore, fault::Result as Inner, unit::Unit};

#[async_trait]
impl Learning for SqliteStore {
    async fn all(&self) -> Result<Vec<Learned>> {
        let (mut connection, limit) = self.reader().await?;
        limit
            .of_all(async {
                let rows = sqlx::query!("SELECT * FROM learned ORDER BY preset, member");
                let rows = rows.fetch_all(&mut *connection).await?.into_iter();
                Ok(rows
                    .map(|row| Learned {
                        preset: row.preset,
                        member: row.member,
                        json: row.json,
                        update_time: from_micros(row.updated_at),
                    })
                    .collect())
            })
            .await
    }

    async fn keep(&self, rows: Vec<Learned>) -> Result<()> {
        self.writer.note(rows, |unit, rows| Box::pin(keep(unit, rows))).await
    }
}

async fn keep(unit: &mut Unit<'_>, rows: &[Learned]) -> Inner<Saved<()>> {
    for row in rows {
        let updated_at = to_micros(row.update_time);
        sqlx::query!(
            "INSERT INTO learned (preset, member, json, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET json = ?3, updated_at = ?4",
            row.preset,
            row.member,
            row.json,
            updated_at
        )
        .execute(&mut *unit.connection)
        .await?;
    }
    Ok(Saved::Done(()))
}
