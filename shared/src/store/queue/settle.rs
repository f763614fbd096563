//! Every way out of PROCESSING except completion: they are rare, and each stores an event.
//!
//! One transaction takes three steps. It locks the orders whose claim still holds, by id and token, and skips those
//! that somebody else has locked, which are tried again later: a lock that is kept for long holds up no other order. It
//! gives them another status and the time at which they may be claimed again. It writes the events from the rows as
//! they stand then, which still have the worker and the time of the claim.
//!
//! Every writer that finishes orders takes its locks in the order of ids. A transaction that deadlocks all the same is
//! tried again, which is safe: the token tells what was done already.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::MySqlConnection;
use uuid::Uuid;

use super::locked::{self, ClaimedOrder, LockedClaim, claimed_order};
use super::outcome::{BatchError, Settled};
use crate::domain::{Claim, EventKind, FailedAttempt, NextStep, OrderId, OrderStatus, RESCUES_MAX};
use crate::store::hot::Hot;
use crate::store::orders::counts::CountDelta;
use crate::store::sql::{Oversized, micros, never, short, status};
use crate::store::{Store, StoreError};

macro_rules! settlements {
    () => {
        r"
        json_table(?, '$[*]' columns (
            order_id char(32) path '$.order_id',
            event_id char(32) path '$.event_id',
            event varchar(20) path '$.event',
            status varchar(20) path '$.status',
            ended smallint unsigned path '$.ended_attempt',
            attempt smallint unsigned path '$.attempt',
            rescues tinyint unsigned path '$.rescues',
            delay_us bigint unsigned path '$.delay_us',
            duration_us bigint unsigned path '$.duration_us',
            error varchar(1000) character set utf8mb4 path '$.error'
        )) as settled
        straight_join orders force index (primary) on orders.order_id = unhex(settled.order_id)
        "
    };
}

/// An order that comes back without a delay takes its old place in the queue. It keeps its token, which means nothing
/// while an order is not PROCESSING.
const SETTLE: &str = concat!(
    "update ",
    settlements!(),
    r"
    set orders.status = settled.status,
        orders.attempt = settled.attempt,
        orders.rescues = settled.rescues,
        orders.last_error = coalesce(settled.error, orders.last_error),
        orders.available_at = case
            when settled.status <> ",
    status!(Pending),
    " then ",
    never!(),
    r"
            when settled.delay_us = 0 then coalesce(orders.process_after, orders.created_at)
            else now(6) + interval settled.delay_us microsecond
        end,
        orders.updated_at = now(6)
    where orders.status = ",
    status!(Processing)
);

/// Runs after [`SETTLE`], whose time it copies, and which leaves the columns of the claim as they were.
const NOTE_SETTLED: &str = concat!(
    r"
    insert into order_events
        (order_id, at, event_id, event, attempt, worker_id, claimed_at, duration_us, error, available_at)
    select orders.order_id, orders.updated_at, unhex(settled.event_id), settled.event, settled.ended, orders.worker_id,
        orders.claimed_at, settled.duration_us, settled.error, if(orders.status = ",
    status!(Pending),
    ", orders.available_at, null) from ",
    settlements!()
);

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    vec![Hot::of_batch("note events", NOTE_SETTLED, "orders"), Hot::of_batch("settle orders", SETTLE, "orders")]
}

/// How an order leaves PROCESSING, as the server reads it.
#[derive(Serialize)]
struct Settlement {
    order_id: String,
    event_id: String,
    event: &'static str,
    status: &'static str,
    /// The attempt that ended.
    ended_attempt: u16,
    /// Attempts that are used up.
    attempt: u16,
    rescues: u8,
    delay_us: Option<u64>,
    duration_us: Option<u64>,
    error: Option<String>,
}

impl Store {
    /// Hands claimed orders back to the queue, at their old places, in one commit. The attempt does not count.
    ///
    /// Trying again what is left after an error is safe.
    pub async fn release(&self, claims: Vec<Claim>) -> Result<Settled, BatchError<Claim>> {
        let pairs = claims.iter().map(claimed_order).collect();
        let outcome = self.settle("release orders", pairs, LockedClaim::released).await;
        self.let_go(claims, |claim| claim, outcome)
    }

    /// Stores failed attempts and what follows each, in one commit.
    ///
    /// Trying again what is left after an error is safe.
    pub async fn fail(&self, attempts: Vec<FailedAttempt>) -> Result<Settled, BatchError<FailedAttempt>> {
        let pairs = attempts.iter().map(|failed| claimed_order(&failed.claim)).collect();
        let of: HashMap<OrderId, &FailedAttempt> =
            attempts.iter().map(|failed| (failed.claim.order_id(), failed)).collect();
        let decide = |locked: &LockedClaim| {
            of.get(&locked.order_id.into()).map_or_else(|| locked.released(), |it| locked.failed(it))
        };
        let outcome = self.settle("store failed attempts", pairs, decide).await;
        self.let_go(attempts, |failed| &failed.claim, outcome)
    }

    /// Takes orders back from dead workers, in one commit. Returns the locked ones too.
    pub(super) async fn take_back(&self, claims: Vec<ClaimedOrder>) -> Result<(Settled, HashSet<OrderId>), StoreError> {
        self.settle("rescue orders", claims, LockedClaim::rescued).await
    }

    /// Lets orders whose claims still hold leave PROCESSING as `decide` says.
    async fn settle(
        &self,
        doing: &'static str,
        claims: Vec<ClaimedOrder>,
        decide: impl Fn(&LockedClaim) -> Settlement,
    ) -> Result<(Settled, HashSet<OrderId>), StoreError> {
        self.transaction(doing, async |connection| {
            let (lockable, locked) = locked::lock(connection, &claims).await?;
            let settlements: Vec<Settlement> = lockable.iter().map(decide).collect();
            let is_failed = |settlement: &&Settlement| settlement.status == OrderStatus::Failed.name();
            let failed = settlements.iter().filter(is_failed).count() as u64;
            let pending = settlements.len() as u64 - failed;
            if !settlements.is_empty() {
                store(connection, &settlements, self.statement_bytes_max()).await?;
                let counts = CountDelta::default().moved(OrderStatus::Processing, OrderStatus::Failed, failed).moved(
                    OrderStatus::Processing,
                    OrderStatus::Pending,
                    pending,
                );
                counts.count(connection).await?;
            }
            Ok((Settled { pending, failed, ..Settled::default() }, locked))
        })
        .await
    }
}

async fn store(
    connection: &mut MySqlConnection,
    settlements: &[Settlement],
    bytes_max: usize,
) -> Result<(), sqlx::Error> {
    let json = serde_json::to_string(settlements).map_err(|error| sqlx::Error::Encode(error.into()))?;
    if json.len() > bytes_max {
        return Err(Oversized { bytes: json.len(), bytes_max }.into());
    }
    sqlx::query(SETTLE).bind(&json).execute(&mut *connection).await?;
    sqlx::query(NOTE_SETTLED).bind(&json).execute(connection).await?;
    Ok(())
}

impl LockedClaim {
    fn settlement(&self, event: EventKind, status: OrderStatus) -> Settlement {
        Settlement {
            order_id: self.order_id.simple().to_string(),
            event_id: Uuid::now_v7().simple().to_string(),
            event: event.name(),
            status: status.name(),
            ended_attempt: self.attempt,
            attempt: self.attempt,
            rescues: self.rescues,
            delay_us: None,
            duration_us: None,
            error: None,
        }
    }

    fn released(&self) -> Settlement {
        let attempt = self.attempt.saturating_sub(1);
        Settlement { attempt, delay_us: Some(0), ..self.settlement(EventKind::Released, OrderStatus::Pending) }
    }

    fn failed(&self, failed: &FailedAttempt) -> Settlement {
        let settlement = match failed.next_step {
            NextStep::RetryAfter(pause) => {
                // Zero would put the order back at its old place.
                let delay_us = Some(micros(pause).max(1));
                Settlement { delay_us, ..self.settlement(EventKind::AttemptFailed, OrderStatus::Pending) }
            }
            NextStep::Fail => self.settlement(EventKind::Failed, OrderStatus::Failed),
        };
        Settlement { duration_us: Some(micros(failed.duration)), error: Some(short(&failed.error)), ..settlement }
    }

    fn rescued(&self) -> Settlement {
        let (attempt, rescues) = (self.attempt.saturating_sub(1), self.rescues.saturating_add(1));
        if rescues >= RESCUES_MAX {
            let error = Some(format!("poison: {rescues} workers were lost while they worked on it"));
            return Settlement { rescues, error, ..self.settlement(EventKind::Failed, OrderStatus::Failed) };
        }
        Settlement { attempt, rescues, delay_us: Some(0), ..self.settlement(EventKind::Rescued, OrderStatus::Pending) }
    }
}
