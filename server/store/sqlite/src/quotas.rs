//! What limits have given out.

use async_trait::async_trait;
use mediary_store::{Lease, Leased, Quotas, Result, Saved, SteadyTime, Unused};

use crate::{SqliteStore, fault::Result as Inner, unit::Unit};

#[async_trait]
impl Quotas for SqliteStore {
    async fn lease(&self, lease: Lease) -> Result<Leased> {
        self.writer.note(lease, |unit, one| Box::pin(lease_out(unit, one))).await
    }

    async fn give_back(&self, unused: Vec<Unused>) -> Result<()> {
        self.writer.note(unused, |unit, all| Box::pin(take_back(unit, all))).await
    }

    async fn steady_time(&self) -> Result<Option<SteadyTime>> {
        let (mut connection, limit) = self.reader().await?;
        let query =
            sqlx::query_as!(SteadyTime, "SELECT micros, boot, uptime_micros FROM steady_time");
        limit.of(query.fetch_optional(&mut *connection)).await
    }

    async fn keep_steady_time(&self, time: SteadyTime) -> Result<()> {
        self.writer.note(time, |unit, time| Box::pin(keep_time(unit, time))).await
    }
}

async fn lease_out(unit: &mut Unit<'_>, lease: &Lease) -> Inner<Saved<Leased>> {
    let Lease { subject, meter, slot, since, limit, want, unused } = lease;
    for (slot, amount) in unused {
        reduce(unit, subject, meter, *slot, *amount).await?;
    }
    sqlx::query!(
        "DELETE FROM quotas WHERE subject = ?1 AND meter = ?2 AND slot < ?3",
        subject,
        meter,
        since
    )
    .execute(&mut *unit.connection)
    .await?;
    let counted = sqlx::query!(
        r#"SELECT COALESCE(SUM(used), 0) AS "used!: i64", MIN(slot) AS "first: i64"
           FROM quotas WHERE subject = ?1 AND meter = ?2 AND used > 0"#,
        subject,
        meter
    )
    .fetch_one(&mut *unit.connection)
    .await?;
    let granted = limit.saturating_sub(counted.used).clamp(0, (*want).max(0));
    if granted > 0 {
        sqlx::query!(
            "INSERT INTO quotas (subject, meter, slot, used) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET used = used + ?4",
            subject,
            meter,
            slot,
            granted
        )
        .execute(&mut *unit.connection)
        .await?;
    }
    let first = if granted > 0 { counted.first.or(Some(*slot)) } else { counted.first };
    Ok(Saved::Done(Leased { granted, used: counted.used.saturating_add(granted), first }))
}

async fn take_back(unit: &mut Unit<'_>, unused: &Vec<Unused>) -> Inner<Saved<()>> {
    for Unused { subject, meter, slot, amount } in unused {
        reduce(unit, subject, meter, *slot, *amount).await?;
    }
    Ok(Saved::Done(()))
}

/// A negative amount is what was used beyond what was leased.
async fn reduce(
    unit: &mut Unit<'_>,
    subject: &str,
    meter: &str,
    slot: i64,
    amount: i64,
) -> Inner<()> {
    sqlx::query!(
        "UPDATE quotas SET used = MAX(used - ?4, 0)
         WHERE subject = ?1 AND meter = ?2 AND slot = ?3",
        subject,
        meter,
        slot,
        amount
    )
    .execute(&mut *unit.connection)
    .await?;
    Ok(())
}

async fn keep_time(unit: &mut Unit<'_>, time: &SteadyTime) -> Inner<Saved<()>> {
    let SteadyTime { micros, boot, uptime_micros } = time;
    sqlx::query!(
        "INSERT INTO steady_time (only_row, micros, boot, uptime_micros) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET micros = ?1, boot = ?2, uptime_micros = ?3",
        micros,
        boot,
        uptime_micros
    )
    .execute(&mut *unit.connection)
    .await?;
    Ok(Saved::Done(()))
}
