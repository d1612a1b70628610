//! Request ids that were used. They are recorded by `unit`, with the change that they belong to.

use std::time::SystemTime;

use async_trait::async_trait;
use mediary_store::{Error, RequestKey, Requests, Result, Saved, to_micros};

use crate::{SqliteStore, fault::Result as Inner, unit::Unit};

#[async_trait]
impl Requests for SqliteStore {
    async fn find(
        &self,
        key: &RequestKey,
        payload_hash: [u8; 32],
        now: SystemTime,
    ) -> Result<Option<String>> {
        let (mut connection, limit) = self.reader().await?;
        let now = to_micros(now);
        let query = sqlx::query!(
            "SELECT payload_hash, resource FROM requests
             WHERE owner = ?1 AND method = ?2 AND request_id = ?3 AND ends_at > ?4",
            key.owner,
            key.method,
            key.request_id,
            now
        );
        match limit.of(query.fetch_optional(&mut *connection)).await? {
            None => Ok(None),
            Some(found) if found.payload_hash == payload_hash => Ok(Some(found.resource)),
            Some(_) => Err(Error::RequestIdReused),
        }
    }

    async fn forget_ended(&self, now: SystemTime, limit: u32) -> Result<u64> {
        let data = (to_micros(now), i64::from(limit));
        self.writer.note(data, |unit, data| Box::pin(forget_ended(unit, data))).await
    }
}

async fn forget_ended(unit: &mut Unit<'_>, (now, limit): &(i64, i64)) -> Inner<Saved<u64>> {
    let forgotten = sqlx::query!(
        "DELETE FROM requests WHERE (owner, method, request_id) IN (
             SELECT owner, method, request_id FROM requests WHERE ends_at <= ?1 LIMIT ?2)",
        now,
        limit
    )
    .execute(&mut *unit.connection)
    .await?;
    Ok(Saved::Done(forgotten.rows_affected()))
}
