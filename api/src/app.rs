use std::sync::Arc;

use orders_shared::http::Readiness;
use orders_shared::store::{Store, StoreError};
use orders_shared::version::Version;
use prometheus::Registry;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::edge::Limits;
use crate::intake::Intake;
use crate::intake::wakeup::Wakeup;
use crate::memory::MemoryBudget;
use crate::metrics::ApiMetrics;
use crate::orders::wait::OrderWaiters;
use crate::problems::{Kind, Problem};
use crate::reports::counts::{Counts, QueueReports};

/// Pieces of work at one time whose callers may have left: far more than connections, so that only clients who leave one after
/// the other come to it. Each holds some kilobytes for some seconds.
const DETACHED_MAX: usize = 8_192;

/// What the handlers work with.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) intake: Intake,
    pub(crate) wakeup: Wakeup,
    pub(crate) waiters: OrderWaiters,
    pub(crate) counts: Counts,
    pub(crate) queue: QueueReports,
    pub(crate) readiness: Readiness,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<ApiMetrics>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) version: Version,
    /// Work that goes on though its caller left.
    pub(crate) detached: TaskTracker,
}

impl App {
    /// Does `work` to its end, whether or not the caller stays for it: a change that was begun is made, and a connection to the
    /// database is not closed in the middle of its answer. What is given must itself have a limit. Its panic is a problem of the
    /// caller.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        detached(&self.detached, work).await
    }

    /// Asks the store, likewise.
    pub(crate) async fn ask<T: Send + 'static, F>(&self, ask: impl FnOnce(Store) -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Ok(self.detached(ask(self.store.clone())).await??)
    }

    /// Reads a page of `limit` entries, in room that is taken before and kept for the answer.
    pub(crate) async fn page<T: Send + 'static, F>(
        &self,
        limits: &Limits,
        limit: u16,
        read: impl FnOnce(Store) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (permit, room) = limits.page(limit).await?;
        let reading = read(self.store.clone());
        // Both go along, so that they are taken for as long as the reading lasts.
        let (page, _permit, room) = self.detached(async move { (reading.await, permit, room) }).await?;
        limits.keep(room);
        Ok(page?)
    }
}

async fn detached<T: Send + 'static>(
    tracker: &TaskTracker,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    if tracker.len() >= DETACHED_MAX {
        return Err(Problem::plain(Kind::Overloaded));
    }
    tracker.spawn(work.in_current_span()).await.map_err(|error| Problem::internal().because(&error))
}

#[cfg(test)]
mod tests {
    use poem::error::ResponseError;

    use super::*;

    #[tokio::test]
    async fn a_panic_of_detached_work_is_a_problem_of_the_caller_without_its_words() {
        let problem = detached(&TaskTracker::new(), async { panic!("the secret of order 17") }).await.unwrap_err();

        assert_eq!(problem.status(), 500);
        assert!(!serde_json::to_string(&problem).unwrap().contains("secret"));
    }
}
