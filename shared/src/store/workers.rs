use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::leave::micros;
use super::{Rescued, Store, StoreError};
use crate::domain::{ClaimToken, Heartbeat, LiveWorker, OrderId, PageKey, Registration, WorkerId};

/// Orders that one commit rescues at most.
const RESCUE_BATCH_MAX: u32 = 500;

const REGISTER: &str = r"
    insert into workers (worker_id, host, pid, version, slots, bell, expires_at)
    values (?, ?, ?, ?, ?, ?, now(6) + interval ? microsecond)
";

/// The server assigns from the first to the last: `steady_since` is judged by the heartbeat before this one.
const BEAT: &str = r"
    update workers
    set steady_since = if(heartbeat_at >= now(6) - interval ? microsecond, steady_since, now(6)),
        heartbeat_at = now(6),
        expires_at = now(6) + interval ? microsecond,
        busy = ?
    where worker_id = ?
";

const ELDEST: &str = "select worker_id from workers where expires_at > now(6) order by worker_id limit 1";

/// A worker is declared dead by this alone: its next heartbeat finds no row. The one who declares it must not be late
/// itself, nor have been so until a moment ago.
const BURY: &str = r"
    delete dead
    from workers as judge
    join workers as dead on dead.expires_at <= now(6)
    where judge.worker_id = ?
        and judge.heartbeat_at >= now(6) - interval ? microsecond
        and judge.steady_since <= now(6) - interval ? microsecond
";

/// Orders that are claimed by nobody alive, behind one that was seen before. Not locked: whoever changes one meanwhile
/// changes its token too. `orders_by_status` leads to the claimed ones, which are as many as the workers have slots.
pub(super) const ORPHANS: &str = r"
    select orders.order_id, orders.claim_token, orders.created_at
    from orders force index (orders_by_status)
    left join workers on workers.worker_id = orders.worker_id
    where orders.status = 'PROCESSING' and orders.available_at is null and workers.worker_id is null
        and (orders.created_at > ? or (orders.created_at = ? and orders.order_id > ?))
    order by orders.created_at, orders.order_id
    limit ?
";

const LIVE: &str = r"
    select worker_id, host, pid, version, slots, busy, started_at, heartbeat_at
    from workers
    where expires_at > now(6)
    order by started_at, worker_id
";

impl Store {
    /// Makes a worker known. It must beat within `dead_after` from now on.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn register(&self, worker: &Registration) -> Result<(), StoreError> {
        self.call("register this worker", async {
            let mut line = self.line().await?;
            sqlx::query(REGISTER)
                .bind(worker.worker_id.uuid())
                .bind(&worker.host)
                .bind(worker.pid)
                .bind(&worker.version)
                .bind(worker.slots)
                .bind(worker.bell.map(|bell| bell.to_string()))
                .bind(micros(worker.dead_after))
                .execute(&mut *line)
                .await?;
            line.done();
            Ok(())
        })
        .await
    }

    /// One heartbeat.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn beat(&self, worker: &Registration, busy: u32) -> Result<Heartbeat, StoreError> {
        self.call("send a heartbeat", async {
            let mut line = self.line().await?;
            let beat = sqlx::query(BEAT)
                .bind(micros(late_after(worker)))
                .bind(micros(worker.dead_after))
                .bind(busy)
                .bind(worker.worker_id.uuid());
            let alive = beat.execute(&mut *line).await?.rows_affected() > 0;
            // Ids rise with time.
            let eldest: Option<Uuid> = sqlx::query_scalar(ELDEST).fetch_optional(&mut *line).await?;
            line.done();
            let eldest = eldest == Some(worker.worker_id.uuid());
            Ok(if alive { Heartbeat::Alive { eldest } } else { Heartbeat::Dead })
        })
        .await
    }

    /// Takes a worker that ends off the list. Whatever it still holds is rescued by others, at once.
    ///
    /// # Errors
    ///
    /// When the database is away; then the worker's heartbeat runs out.
    pub async fn unregister(&self, worker_id: WorkerId) -> Result<(), StoreError> {
        self.call("unregister this worker", async {
            let mut line = self.line().await?;
            sqlx::query("delete from workers where worker_id = ?").bind(worker_id.uuid()).execute(&mut *line).await?;
            line.done();
            Ok(())
        })
        .await
    }

    /// Declares every worker dead whose heartbeat has run out, and returns how many. None, unless the heartbeats of the
    /// `judge` have been on time for a third of the time that it may be silent.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn bury_dead_workers(&self, judge: &Registration) -> Result<u64, StoreError> {
        self.call("look for dead workers", async {
            let mut line = self.line().await?;
            let bury = sqlx::query(BURY)
                .bind(judge.worker_id.uuid())
                .bind(micros(late_after(judge)))
                .bind(micros(judge.dead_after / 3));
            let buried = bury.execute(&mut *line).await?.rows_affected();
            line.done();
            Ok(buried)
        })
        .await
    }

    /// Takes a batch of orders back from dead workers, those behind `after`. Returns the last one seen, unless there are
    /// no more. A batch that the database does not take as a whole is rescued order by order.
    ///
    /// # Errors
    ///
    /// When the database is away; then nothing of this batch may have been rescued.
    pub async fn rescue_orphans(&self, after: Option<PageKey>) -> Result<(Rescued, Option<PageKey>), StoreError> {
        let (orphans, last) = self.orphans(after).await?;
        let rescued = match self.take_back(orphans.clone()).await {
            Err(error) if !error.is_passing() => self.rescue_one_by_one(orphans).await?,
            other => other?,
        };
        Ok((rescued, last))
    }

    /// Rescues what can be rescued.
    async fn rescue_one_by_one(&self, orphans: Vec<(OrderId, ClaimToken)>) -> Result<Rescued, StoreError> {
        let mut total = Rescued::default();
        for orphan in orphans {
            match self.take_back(vec![orphan]).await {
                Ok(one) => {
                    total.rescued += one.rescued;
                    total.poisonous += one.poisonous;
                }
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(order_id = %orphan.0, error, "an order of a dead worker cannot be rescued");
                }
            }
        }
        Ok(total)
    }

    /// A batch of orphans, and the last one's place unless there are no more.
    async fn orphans(
        &self,
        after: Option<PageKey>,
    ) -> Result<(Vec<(OrderId, ClaimToken)>, Option<PageKey>), StoreError> {
        let after = after.unwrap_or_else(PageKey::end);
        let rows: Vec<(Uuid, Uuid, DateTime<Utc>)> = self
            .call("look for orders of dead workers", async {
                let mut line = self.line().await?;
                let placed = after.created_at.naive_utc();
                let orphans = sqlx::query_as(ORPHANS).bind(placed).bind(placed).bind(after.order_id.uuid());
                let rows = orphans.bind(RESCUE_BATCH_MAX).fetch_all(&mut *line).await?;
                line.done();
                Ok(rows)
            })
            .await?;
        let last = rows.last().filter(|_| rows.len() >= RESCUE_BATCH_MAX as usize);
        let last = last.map(|&(order_id, _, created_at)| PageKey { created_at, order_id: order_id.into() });
        Ok((rows.into_iter().map(|(order_id, token, _)| (order_id.into(), token.into())).collect(), last))
    }

    /// Every worker that is alive, the longest running first.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn live_workers(&self) -> Result<Vec<LiveWorker>, StoreError> {
        self.call("list the workers", async {
            let mut line = self.line().await?;
            let rows: Vec<WorkerRow> = sqlx::query_as(LIVE).fetch_all(&mut *line).await?;
            line.done();
            Ok(rows.into_iter().map(LiveWorker::from).collect())
        })
        .await
    }
}

#[derive(Debug, sqlx::FromRow)]
struct WorkerRow {
    worker_id: Uuid,
    host: String,
    pid: u32,
    version: String,
    slots: u32,
    busy: u32,
    started_at: DateTime<Utc>,
    heartbeat_at: DateTime<Utc>,
}

impl From<WorkerRow> for LiveWorker {
    fn from(row: WorkerRow) -> Self {
        let WorkerRow { worker_id, host, pid, version, slots, busy, started_at, heartbeat_at } = row;
        Self { worker_id: worker_id.into(), host, pid, version, slots, busy, started_at, heartbeat_at }
    }
}

/// A heartbeat is late when half of the time has passed that its worker may be silent: two were missed, not one.
fn late_after(worker: &Registration) -> Duration {
    worker.dead_after / 2
}
