//! Puts the orders of dead workers back into the queue.
//!
//! An order that is PROCESSING by a claim whose worker has no row is an orphan, and `claims` leads to it. Two rescuers
//! do no harm: the token lets one of them win.

use std::collections::HashSet;
use std::error::Error;

use super::claims::{self, OrphanedBatch};
use super::locked::{ClaimedOrder, still_claimed};
use super::outcome::Settled;
use crate::domain::{ClaimToken, OrderId};
use crate::store::sql::Script;
use crate::store::{Store, StoreError};

/// The most orders that one commit rescues.
const RESCUE_MAX: usize = 500;

impl Store {
    /// Takes some batches of orders back from dead workers, those behind `after`. Returns the last batch that it looked
    /// at, unless there are no more. If the database rejects the batches together, they are rescued order by order.
    ///
    /// After an error, perhaps nothing was rescued.
    pub async fn rescue_orphans(&self, after: Option<ClaimToken>) -> Result<(Settled, Option<ClaimToken>), StoreError> {
        let (batches, orphans) = self.orphans(after).await?;
        let Some(last) = batches.last().map(|batch| batch.token) else { return Ok((Settled::default(), None)) };
        let (rescued, left) = if orphans.is_empty() {
            Default::default()
        } else {
            match self.take_back(orphans.clone()).await {
                Err(error) if !error.is_passing() => self.rescue_one_by_one(orphans).await?,
                other => other?,
            }
        };
        let is_rescued = |order_ids: &Vec<OrderId>| order_ids.iter().all(|order_id| !left.contains(order_id));
        let rescued_batches = batches.iter().filter(|batch| batch.order_ids.as_ref().is_some_and(is_rescued));
        let tokens: Vec<_> = rescued_batches.map(|batch| batch.token).collect();
        let forgotten = self.call("forget claims", async |connection| {
            claims::delete(Script::begin(), &tokens).commit().run(connection).await.map(drop)
        });
        if let Err(error) = forgotten.await {
            // They will be found again, with nothing left to rescue.
            tracing::warn!(error = &error as &dyn Error, "claims of dead workers stay on the list");
        }
        Ok((rescued, Some(last)))
    }

    /// Rescues the orders that it can, and returns the others.
    async fn rescue_one_by_one(&self, orphans: Vec<ClaimedOrder>) -> Result<(Settled, HashSet<OrderId>), StoreError> {
        let (mut total, mut left) = (Settled::default(), HashSet::new());
        for orphan in orphans {
            match self.take_back(vec![orphan]).await {
                Ok((one, busy)) => {
                    total.pending += one.pending;
                    total.failed += one.failed;
                    left.extend(busy);
                }
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => {
                    let error = &error as &dyn Error;
                    tracing::error!(order_id = %orphan.0, error, "an order of a dead worker cannot be rescued");
                    left.insert(orphan.0);
                }
            }
        }
        Ok((total, left))
    }

    /// As many batches of dead workers as one commit takes back, and those of their orders that are still PROCESSING.
    async fn orphans(&self, after: Option<ClaimToken>) -> Result<(Vec<OrphanedBatch>, Vec<ClaimedOrder>), StoreError> {
        self.call("look for orders of dead workers", async |connection| {
            let mut batches = claims::orphaned(connection, after).await?;
            let mut orders = 0;
            batches.retain(|batch| {
                let is_first = orders == 0;
                orders += batch.order_ids.as_ref().map_or(0, Vec::len);
                is_first || orders <= RESCUE_MAX
            });
            let named = batches
                .iter()
                .flat_map(|batch| batch.order_ids.iter().flatten().map(|&order_id| (order_id, batch.token)));
            let orphans = still_claimed(connection, &named.collect::<Vec<_>>()).await?;
            Ok((batches, orphans))
        })
        .await
    }
}
