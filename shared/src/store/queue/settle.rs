//! Every way out of PROCESSING but completion: rare, and each leaves an event behind.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::{Connection, MySqlConnection};
use uuid::Uuid;

use super::complete::{Finished, Partly, pairs};
use super::locked::{Held, Listed};
use crate::domain::{Claim, ClaimToken, FailedAttempt, NextStep, OrderId, OrderStatus, RESCUES_MAX};
use crate::store::orders::counts::CountDelta;
use crate::store::sql::{Oversized, micros, never, short};
use crate::store::{Store, StoreError};

macro_rules! left {
    () => {
        r"
        json_table(?, '$[*]' columns (
            order_id char(32) path '$.order_id',
            event_id char(32) path '$.event_id',
            event varchar(20) path '$.event',
            status varchar(20) path '$.status',
            ended smallint unsigned path '$.ended',
            attempt smallint unsigned path '$.attempt',
            rescues tinyint unsigned path '$.rescues',
            delay_us bigint unsigned path '$.delay_us',
            duration_us bigint unsigned path '$.duration_us',
            error varchar(1000) character set utf8mb4 path '$.error'
        )) as gone
        straight_join orders force index (primary) on orders.order_id = unhex(gone.order_id)
        "
    };
}

/// An order that comes back without a delay is as old as it ever was, and takes its old place in the queue. It keeps its
/// token, which says nothing of an order that is not PROCESSING.
pub(in crate::store) const LEAVE: &str = concat!(
    "update ",
    left!(),
    r"
    set orders.status = gone.status,
        orders.attempt = gone.attempt,
        orders.rescues = gone.rescues,
        orders.last_error = coalesce(gone.error, orders.last_error),
        orders.available_at = case
            when gone.status <> 'PENDING' then ",
    never!(),
    r"
            when gone.delay_us = 0 then coalesce(orders.process_after, orders.created_at)
            else now(6) + interval gone.delay_us microsecond
        end,
        orders.updated_at = now(6)
    where orders.status = 'PROCESSING'
    "
);

/// After [`LEAVE`], whose time it takes over; that leaves the columns that tell of the claim as they were.
pub(in crate::store) const NOTE: &str = concat!(
    r"
    insert into order_events
        (order_id, at, event_id, event, attempt, worker_id, claimed_at, duration_us, error, available_at)
    select orders.order_id, orders.updated_at, unhex(gone.event_id), gone.event, gone.ended, orders.worker_id,
        orders.claimed_at, gone.duration_us, gone.error, if(orders.status = 'PENDING', orders.available_at, null)
    from ",
    left!()
);

/// An order that leaves PROCESSING, as it travels to the server.
#[derive(Serialize)]
struct Leaving {
    order_id: String,
    event_id: String,
    event: &'static str,
    status: &'static str,
    ended: u16,
    attempt: u16,
    rescues: u8,
    delay_us: Option<u64>,
    duration_us: Option<u64>,
    error: Option<String>,
}

/// What became of a batch of failed attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Settled {
    /// Orders that wait for another attempt.
    pub retried: u64,
    /// Orders that are FAILED.
    pub failed: u64,
    /// Orders that somebody else holds or has finished by now: nothing was changed.
    pub stale: u64,
}

/// What rescuing a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Rescued {
    /// Orders that wait again.
    pub rescued: u64,
    /// Orders that had been rescued too often and are FAILED now.
    pub poisonous: u64,
}

/// Those that left, and those that somebody else has locked.
type Left = (Vec<Leaving>, HashSet<OrderId>);

impl Store {
    /// Hands claimed orders back to the queue, at their old place, in one commit. The attempt does not count.
    ///
    /// # Errors
    ///
    /// Gives the claims back with the error when the database is away or refuses. Trying again is safe.
    pub async fn release(&self, claims: Vec<Claim>) -> Result<Partly<Claim, Finished>, (Vec<Claim>, StoreError)> {
        match self.leave("release orders", pairs(&claims), Held::released).await {
            Ok((gone, busy)) => {
                let asked = claims.len();
                let busy = self.let_go(claims, &busy, |claim| claim);
                Ok(Partly::finished(asked, gone.len() as u64, busy))
            }
            Err(error) => Err((claims, error)),
        }
    }

    /// Stores failed attempts and what follows each, in one commit.
    ///
    /// # Errors
    ///
    /// As for [`Store::release`].
    pub async fn fail(
        &self,
        attempts: Vec<FailedAttempt>,
    ) -> Result<Partly<FailedAttempt, Settled>, (Vec<FailedAttempt>, StoreError)> {
        let held: Vec<_> = attempts.iter().map(|failed| (failed.claim.order_id(), failed.claim.token())).collect();
        let of: HashMap<OrderId, &FailedAttempt> =
            attempts.iter().map(|failed| (failed.claim.order_id(), failed)).collect();
        let decide = |held: &Held| of.get(&held.order_id.into()).map_or_else(|| held.released(), |it| held.failed(it));
        match self.leave("store failed attempts", held, decide).await {
            Ok((gone, busy)) => {
                let asked = attempts.len();
                let busy = self.let_go(attempts, &busy, |failed| &failed.claim);
                let failed = count_failed(&gone);
                let stale = asked.saturating_sub(gone.len() + busy.len()) as u64;
                Ok(Partly { done: Settled { retried: gone.len() as u64 - failed, failed, stale }, busy })
            }
            Err(error) => Err((attempts, error)),
        }
    }

    /// Takes orders back from a dead worker, in one commit, and gives those that somebody else has locked.
    pub(in crate::store) async fn take_back(
        &self,
        held: Vec<(OrderId, ClaimToken)>,
    ) -> Result<(Rescued, HashSet<OrderId>), StoreError> {
        let (gone, busy) = self.leave("rescue orders", held, Held::rescued).await?;
        let poisonous = count_failed(&gone);
        Ok((Rescued { rescued: gone.len() as u64 - poisonous, poisonous }, busy))
    }

    /// Lets those of `held` whose claim still holds leave PROCESSING as `decide` says.
    async fn leave(
        &self,
        doing: &'static str,
        held: Vec<(OrderId, ClaimToken)>,
        decide: impl Fn(&Held) -> Leaving,
    ) -> Result<Left, StoreError> {
        let listed = Listed::new(held);
        self.call(doing, async {
            let mut line = self.line().await?;
            let mut transaction = line.begin().await?;
            let (held, busy) = listed.lock(&mut transaction).await?;
            let leaving: Vec<Leaving> = held.iter().map(decide).collect();
            if !leaving.is_empty() {
                settle(&mut transaction, &leaving, self.statement_bytes_max()).await?;
            }
            transaction.commit().await?;
            line.done();
            Ok((leaving, busy))
        })
        .await
    }
}

fn count_failed(gone: &[Leaving]) -> u64 {
    gone.iter().filter(|gone| gone.status == "FAILED").count() as u64
}

async fn settle(
    connection: &mut MySqlConnection,
    leaving: &[Leaving],
    statement_bytes_max: usize,
) -> Result<(), sqlx::Error> {
    let json = serde_json::to_string(leaving).map_err(|error| sqlx::Error::Encode(error.into()))?;
    if json.len() > statement_bytes_max {
        return Err(Oversized { bytes: json.len(), bytes_max: statement_bytes_max }.into());
    }
    sqlx::query(LEAVE).bind(&json).execute(&mut *connection).await?;
    sqlx::query(NOTE).bind(&json).execute(&mut *connection).await?;
    let failed = count_failed(leaving);
    CountDelta::default()
        .moved(OrderStatus::Processing, OrderStatus::Failed, failed)
        .moved(OrderStatus::Processing, OrderStatus::Pending, leaving.len() as u64 - failed)
        .count(connection)
        .await
}

impl Held {
    fn leaving(&self, event: &'static str, status: &'static str) -> Leaving {
        Leaving {
            order_id: self.order_id.simple().to_string(),
            event_id: Uuid::now_v7().simple().to_string(),
            event,
            status,
            ended: self.attempt,
            attempt: self.attempt,
            rescues: self.rescues,
            delay_us: None,
            duration_us: None,
            error: None,
        }
    }

    fn released(&self) -> Leaving {
        let attempt = self.attempt.saturating_sub(1);
        Leaving { attempt, delay_us: Some(0), ..self.leaving("RELEASED", "PENDING") }
    }

    fn failed(&self, failed: &FailedAttempt) -> Leaving {
        let leaving = match failed.next_step {
            NextStep::RetryAfter(pause) => {
                // No pause would put the order back at its old place.
                let delay_us = Some(micros(pause).max(1));
                Leaving { delay_us, ..self.leaving("ATTEMPT_FAILED", "PENDING") }
            }
            NextStep::Fail => self.leaving("FAILED", "FAILED"),
        };
        Leaving { duration_us: Some(micros(failed.duration)), error: Some(short(&failed.error)), ..leaving }
    }

    fn rescued(&self) -> Leaving {
        let (attempt, rescues) = (self.attempt.saturating_sub(1), self.rescues.saturating_add(1));
        if rescues >= RESCUES_MAX {
            let error = Some(format!("poison: {rescues} workers were lost while they worked on it"));
            return Leaving { rescues, error, ..self.leaving("FAILED", "FAILED") };
        }
        Leaving { attempt, rescues, delay_us: Some(0), ..self.leaving("RESCUED", "PENDING") }
    }
}
