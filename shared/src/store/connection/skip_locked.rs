use sqlx::Connection;

use super::error::{ErrorKind, kind_of};
use crate::domain::WorkerId;
use crate::store::{Store, StoreError};

const HOLD: &str = "select 1 from workers where worker_id = ? for update";

const TRY: &str = "select 1 from workers where worker_id = ? for update skip locked";

impl Store {
    /// Whether this database honours SKIP LOCKED: one connection locks the row of a registered worker, and a second one
    /// must not get it. Some servers that speak MySQL's protocol parse the words and lock nothing, or lock on one node
    /// only.
    ///
    /// Also fails if the server does not know the words, or the worker has no row.
    pub async fn skips_locked_rows(&self, registered: WorkerId) -> Result<bool, StoreError> {
        // Of the few connections for work it takes only one.
        let others = self.for_callers();
        self.call("try SKIP LOCKED", async |holder| {
            let mut holding = holder.begin().await?;
            let _: (i32,) = sqlx::query_as(HOLD).bind(registered.uuid()).fetch_one(&mut *holding).await?;
            let got = others.on_connection(async |other| {
                let mut trying = other.begin().await?;
                let got: Vec<(i32,)> = sqlx::query_as(TRY).bind(registered.uuid()).fetch_all(&mut *trying).await?;
                trying.rollback().await?;
                Ok(got)
            });
            // A server that waits for the row instead gives up in the end, with a lock wait timeout.
            let skipped = match got.await {
                Err(error) if kind_of(&error) == ErrorKind::Locked => false,
                got => got?.is_empty(),
            };
            holding.rollback().await?;
            Ok(skipped)
        })
        .await
    }
}
