//! What the registry is made of, read as it stood at one version.

use async_trait::async_trait;
use mediary_store::{Error, Registry, RegistryRows, Result, Version};
use sqlx::Connection as _;
use tokio::sync::watch;

use crate::{SqliteStore, accounts, api_keys, catalog, recipes, routes, unit};

/// As many rows as there are.
const ALL: i64 = -1;

#[async_trait]
impl Registry for SqliteStore {
    async fn version(&self) -> Result<Version> {
        let (mut connection, limit) = self.reader().await?;
        limit.of_all(unit::current_version(&mut connection)).await
    }

    async fn rows(&self) -> Result<RegistryRows> {
        let (mut connection, limit) = self.reader().await?;
        limit
            .of_all(async {
                let mut moment = connection.begin().await?;
                let rows = RegistryRows {
                    version: unit::current_version(&mut moment).await?,
                    catalog: catalog::all(&mut moment).await?,
                    accounts: accounts::list(&mut moment, String::new(), ALL).await?,
                    routes: routes::list(&mut moment, String::new(), ALL).await?,
                    recipes: recipes::all(&mut moment).await?,
                    api_keys: api_keys::list(&mut moment, String::new(), ALL).await?,
                };
                moment.commit().await?;
                Ok(rows)
            })
            .await
    }

    async fn salt(&self) -> Result<[u8; 32]> {
        let (mut connection, limit) = self.reader().await?;
        let salt = sqlx::query_scalar!("SELECT salt FROM registry WHERE only_row = 1");
        let salt = limit.of_all(async { Ok(salt.fetch_one(&mut *connection).await?) }).await?;
        <[u8; 32]>::try_from(salt).map_err(|_| Error::Corrupt("the store has no salt".to_owned()))
    }

    fn changes(&self) -> watch::Receiver<Version> {
        self.changes.clone()
    }
}
