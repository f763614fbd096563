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
use super::outages::{self, Outage};
use super::outcome::{BatchError, Settled};
use crate::domain::{Claim, ErrorClass, EventKind, NextStep, OrderId, OrderStatus, RESCUES_MAX, UnfinishedAttempt};
use crate::store::hot::Hot;
use crate::store::orders::counts::CountDelta;
use crate::store::sql::{Oversized, Script, micros, never, short, status};
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
            error varchar(1000) character set utf8mb4 path '$.error',
            error_class varchar(32) character set ascii path '$.error_class',
            http_status smallint unsigned path '$.http_status',
            http_body varchar(1024) character set utf8mb4 path '$.http_body',
            times int unsigned path '$.times',
            since datetime(6) path '$.since'
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
        (order_id, at, event_id, event, attempt, worker_id, claimed_at, duration_us, error, error_class, http_status,
            http_body, times, available_at)
    select orders.order_id, orders.updated_at, unhex(settled.event_id), settled.event, settled.ended, orders.worker_id,
        orders.claimed_at, settled.duration_us, settled.error, settled.error_class, settled.http_status,
        settled.http_body, settled.times, if(orders.status = ",
    status!(Pending),
    ", orders.available_at, null) from ",
    settlements!()
);

/// Runs after [`SETTLE`], whose time is that of the event, for orders that wait.
const NOTE_OUTAGES: &str = concat!(
    r"
    replace into order_outages (order_id, since, times, last_at, last_event_id)
    select orders.order_id, coalesce(settled.since, orders.updated_at), settled.times, orders.updated_at,
        unhex(settled.event_id)
    from ",
    settlements!(),
    "where settled.times is not null"
);

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    vec![
        Hot::of_batch("note events", NOTE_SETTLED, "orders"),
        Hot::of_batch("note outages", NOTE_OUTAGES, "orders"),
        Hot::of_batch("settle orders", SETTLE, "orders"),
    ]
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
    error_class: Option<String>,
    http_status: Option<u16>,
    http_body: Option<String>,
    /// How many times in a row what the work depends on has been away, if it is now, and since when.
    times: Option<u32>,
    since: Option<String>,
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

    /// Stores attempts that did not complete their orders, and what follows each, in one commit.
    ///
    /// Trying again what is left after an error is safe.
    pub async fn end_attempts(
        &self,
        attempts: Vec<UnfinishedAttempt>,
    ) -> Result<Settled, BatchError<UnfinishedAttempt>> {
        let of: HashMap<OrderId, &UnfinishedAttempt> =
            attempts.iter().map(|attempt| (attempt.claim.order_id(), attempt)).collect();
        let claims: Vec<_> = attempts.iter().map(|attempt| claimed_order(&attempt.claim)).collect();
        let ended = self.transaction("store failed attempts", async |connection| {
            let (lockable, locked) = locked::lock(connection, &claims).await?;
            let outages = outages::read(connection, lockable.iter().map(|claim| claim.order_id.into())).await?;
            let settlements: Vec<_> = lockable
                .iter()
                .map(|locked| {
                    let order_id = locked.order_id.into();
                    let ended = |attempt: &&UnfinishedAttempt| locked.ended(attempt, outages.get(&order_id));
                    of.get(&order_id).map_or_else(|| locked.released(), ended)
                })
                .collect();
            let settled = store(connection, &settlements, self.statement_bytes_max()).await?;
            note_outages(connection, &settlements, &outages).await?;
            Ok((settled, locked))
        });
        let outcome = ended.await;
        self.let_go(attempts, |attempt| &attempt.claim, outcome)
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
            let settlements: Vec<Settlement> = lockable.iter().map(&decide).collect();
            let settled = store(connection, &settlements, self.statement_bytes_max()).await?;
            if settled.failed > 0 {
                let failed = settlements.iter().filter(|settlement| settlement.status == OrderStatus::Failed.name());
                let failed = failed.filter_map(|settlement| settlement.order_id.parse().ok());
                outages::end(Script::default(), failed).run(connection).await?;
            }
            Ok((settled, locked))
        })
        .await
    }
}

/// Writes what becomes of orders, and counts them.
async fn store(
    connection: &mut MySqlConnection,
    settlements: &[Settlement],
    bytes_max: usize,
) -> Result<Settled, sqlx::Error> {
    if settlements.is_empty() {
        return Ok(Settled::default());
    }
    let json = serde_json::to_string(settlements).map_err(|error| sqlx::Error::Encode(error.into()))?;
    if json.len() > bytes_max {
        return Err(Oversized { bytes: json.len(), bytes_max }.into());
    }
    sqlx::query(SETTLE).bind(&json).execute(&mut *connection).await?;
    sqlx::query(NOTE_SETTLED).bind(&json).execute(&mut *connection).await?;
    if settlements.iter().any(|settlement| settlement.times.is_some()) {
        sqlx::query(NOTE_OUTAGES).bind(&json).execute(&mut *connection).await?;
    }
    let with = |status: OrderStatus| settlements.iter().filter(|it| it.status == status.name()).count() as u64;
    let settled = Settled {
        pending: with(OrderStatus::Pending),
        waiting: settlements.iter().filter(|settlement| settlement.times.is_some()).count() as u64,
        failed: with(OrderStatus::Failed),
        canceled: with(OrderStatus::Canceled),
        ..Settled::default()
    };
    CountDelta::default()
        .moved(OrderStatus::Processing, OrderStatus::Pending, settled.pending)
        .moved(OrderStatus::Processing, OrderStatus::Failed, settled.failed)
        .moved(OrderStatus::Processing, OrderStatus::Canceled, settled.canceled)
        .count(connection)
        .await?;
    Ok(settled)
}

/// Tidies up after orders that had waited before: each has a newer event now, or waits no longer.
async fn note_outages(
    connection: &mut MySqlConnection,
    settlements: &[Settlement],
    outages: &HashMap<OrderId, Outage>,
) -> Result<(), sqlx::Error> {
    if outages.is_empty() {
        return Ok(());
    }
    let (waiting, ended): (Vec<_>, Vec<_>) = settlements
        .iter()
        .filter_map(|settlement| {
            let order_id = settlement.order_id.parse().ok()?;
            Some((settlement, order_id, outages.get(&order_id)?))
        })
        .partition(|(settlement, ..)| settlement.times.is_some());
    let script = outages::delete_replaced_events(Script::default(), waiting.into_iter().map(|(.., outage)| outage));
    let script = outages::end(script, ended.into_iter().map(|(_, order_id, _)| order_id));
    script.run(connection).await.map(drop)
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
            error_class: None,
            http_status: None,
            http_body: None,
            times: None,
            since: None,
        }
    }

    fn released(&self) -> Settlement {
        let attempt = self.attempt.saturating_sub(1);
        Settlement { attempt, delay_us: Some(0), ..self.settlement(EventKind::Released, OrderStatus::Pending) }
    }

    /// How the order leaves PROCESSING after this attempt, given how it had waited before.
    fn ended(&self, attempt: &UnfinishedAttempt, outage: Option<&Outage>) -> Settlement {
        let pending = |event, pause| {
            // Zero would put the order back at its old place.
            Settlement { delay_us: Some(micros(pause).max(1)), ..self.settlement(event, OrderStatus::Pending) }
        };
        let failed = || self.settlement(EventKind::Failed, OrderStatus::Failed);
        let settlement = match attempt.next_step {
            NextStep::RetryAfter(pause) => pending(EventKind::AttemptFailed, pause),
            NextStep::Wait(wait) => {
                let times = outage.map_or(0, |outage| outage.times).saturating_add(1);
                let waited = outage.map(Outage::waited).unwrap_or_default();
                wait.pause(times, waited).map_or_else(failed, |pause| Settlement {
                    attempt: self.attempt.saturating_sub(1),
                    times: Some(times),
                    since: outage.map(|outage| outage.since.naive_utc().to_string()),
                    ..pending(EventKind::Unavailable, pause)
                })
            }
            NextStep::Fail => failed(),
            NextStep::Cancel => self.settlement(EventKind::Canceled, OrderStatus::Canceled),
        };
        let error = attempt.error.as_ref();
        let answer = error.and_then(|error| error.answer.as_ref());
        Settlement {
            duration_us: Some(micros(attempt.duration)),
            error: error.map(|error| short(&error.message)),
            error_class: error.map(|error| error.class.name().to_owned()),
            http_status: answer.map(|answer| answer.status),
            http_body: answer.map(|answer| answer.body().to_owned()),
            ..settlement
        }
    }

    fn rescued(&self) -> Settlement {
        let (attempt, rescues) = (self.attempt.saturating_sub(1), self.rescues.saturating_add(1));
        if rescues >= RESCUES_MAX {
            let error = Some(format!("poison: {rescues} workers were lost while they worked on it"));
            let error_class = Some(ErrorClass::POISON.name().to_owned());
            return Settlement {
                rescues,
                error,
                error_class,
                ..self.settlement(EventKind::Failed, OrderStatus::Failed)
            };
        }
        Settlement { attempt, rescues, delay_us: Some(0), ..self.settlement(EventKind::Rescued, OrderStatus::Pending) }
    }
}
