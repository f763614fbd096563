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

/// Maximum pieces of detached work at a time: more than ordinary clients ever cause, so that only clients that leave
/// again and again reach it. Each piece holds a few kilobytes for a few seconds.
const DETACHED_MAX: usize = 8_192;

/// What all handlers share.
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
    /// Work that continues even if its caller leaves.
    pub(crate) detached: TaskTracker,
}

impl App {
    /// Does `work` to its end, even if the caller leaves: a change that has begun is completed, and no connection to
    /// the database is closed in the middle of an answer. The work must limit its own time. If it panics, the caller
    /// gets a problem.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        detached(&self.detached, work).await
    }

    /// Asks the store, as detached work.
    pub(crate) async fn ask<T: Send + 'static, F>(&self, ask: impl FnOnce(Store) -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Ok(self.detached(ask(self.store.clone())).await??)
    }

    /// Reads a page of `limit` entries. Its memory is reserved beforehand, and kept for the answer.
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
        // The work owns both, so that they are held as long as the reading takes, even if the caller leaves.
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
    async fn a_panic_of_detached_work_gives_its_caller_a_problem_without_the_message() {
        let problem = detached(&TaskTracker::new(), async { panic!("the secret of order 17") }).await.unwrap_err();

        assert_eq!(problem.status(), 500);
        assert!(!serde_json::to_string(&problem).unwrap().contains("secret"));
    }
}
