//! The claim: locks due orders, oldest first, and makes them a batch of one worker.
//!
//! It runs in READ COMMITTED. Under REPEATABLE READ InnoDB also locks the gaps of the index where new orders arrive,
//! and claimers deadlock with each other and with the intake.
//!
//! The pause of the queue is a condition of the locking statement. So no worker has to be told, and none can have
//! missed it: a claim that begins after the pause was committed finds nothing. Orders under way are finished; retries,
//! releases and rescues go on and leave their orders PENDING.

use chrono::{DateTime, Utc};
use sqlx::MySqlConnection;
use uuid::Uuid;

use super::claims;
use crate::domain::{
    Claim, ClaimToken, Order, OrderStatus, RESCUES_MAX, SUSPECT_FROM, Share, Suspects, WorkerId, share,
};
use crate::store::orders::counts::CountDelta;
use crate::store::orders::row::{OrderRow, Unreadable, order_columns};
use crate::store::sql::{Id, Script, ids, never, short};
use crate::store::{Store, StoreError};

/// Of an order that waits: it is due, also where the clock went back. Then what was placed or changed before lies in the
/// future, and a statement looks so far ahead (`clock.rs`). There an order is due unless its client wants it later: it was
/// due when it was placed, or was changed at a time that is still to come.
macro_rules! is_due {
    () => {
        "(
            available_at <= now(6)
            or (available_at = created_at or updated_at > now(6)) and (process_after is null or process_after <= now(6))
        )"
    };
}
pub(in crate::store) use is_due;

/// The oldest orders due since a certain time that nobody else is claiming, unless the queue is paused or the worker
/// was declared dead. `orders_by_status` ends in exactly this order, so that no row beyond the limit is read, sorted
/// or locked, but for the few suspects that are passed over.
pub(in crate::store) const LOCK_DUE: &str = concat!(
    "select ",
    order_columns!(),
    r"
    from orders force index (orders_by_status)
    where listed_as = 'PENDING' and available_at between ? and now(6) + interval ? microsecond
        and ",
    is_due!(),
    r"
        and rescues < ?
        and not exists (select 1 from queue_pauses)
        and exists (select 1 from workers where worker_id = ? and expires_at > now(6))
    order by available_at, created_at, order_id
    limit ?
    for update skip locked
    "
);

/// Claims orders that this transaction has locked.
pub(in crate::store) fn claim(
    token: ClaimToken,
    worker_id: WorkerId,
    order_ids: impl IntoIterator<Item = Uuid>,
) -> String {
    let (token, worker_id, order_ids) = (Id(token.uuid()), Id(worker_id.uuid()), ids(order_ids));
    format!(
        r"
        update orders force index (primary)
        set status = 'PROCESSING',
            attempt = attempt + 1,
            available_at = {never},
            claim_token = {token},
            worker_id = {worker_id},
            claimed_at = now(6),
            updated_at = now(6)
        where order_id in ({order_ids}) and status = 'PENDING'
        ",
        never = never!(),
    )
}

const NOTE_SET_ASIDE: &str = r"
    insert into order_events (order_id, at, event_id, event, error)
    select order_id, updated_at, ?, 'FAILED', last_error
    from orders
    where order_id = ?
";

const SET_ASIDE: &str = concat!(
    r"
    update orders
    set status = 'FAILED', last_error = ?, updated_at = now(6), available_at = ",
    never!(),
    r"
    where order_id = ? and status = 'PENDING'
    "
);

/// What one claim came to.
#[derive(Debug)]
#[must_use]
pub enum Claimed {
    /// These orders, perhaps none.
    Orders {
        /// The longest due first.
        claims: Vec<Claim>,
        /// Since when the first one was due.
        since: Option<DateTime<Utc>>,
    },
    /// None: the next one must be worked on alone, and this worker is not idle.
    WaitUntilIdle,
}

impl Claimed {
    /// Nothing is due.
    pub const NONE: Self = Self::Orders { claims: Vec::new(), since: None };
}

/// A claim that failed, or whose outcome is unknown.
#[derive(Debug)]
pub struct ClaimError {
    /// Why.
    pub error: StoreError,
    /// Orders that are claimed all the same if the commit took effect and only its answer was lost. To be released.
    pub doubtful: Vec<Claim>,
}

impl Store {
    /// Claims up to `limit` due orders for a worker, the longest due first; fewer, or none, when no more are due. Of those
    /// only that are due since `cursor`, if that is given: the index entries of orders claimed before are read too, as long
    /// as anybody's read view may need them, and this passes over the older ones.
    ///
    /// No other claimer gets these orders, and none waits for this one. A suspect (see [`Order::is_suspect`]) is claimed
    /// alone, and only by a worker that is idle; others pass over it or wait, as `suspects` says. A row that is no order is
    /// FAILED on the way, so that it stands in nobody's way.
    pub async fn claim(
        &self,
        worker_id: WorkerId,
        limit: u32,
        suspects: Suspects,
        cursor: Option<DateTime<Utc>>,
    ) -> Result<Claimed, ClaimError> {
        let rescues_below = if suspects == Suspects::PassOver { SUSPECT_FROM } else { RESCUES_MAX };
        let scan = self.clock.scan(cursor);
        let ended = self.batches.take_ended();
        let mut doubtful = Vec::new();
        let claimed = self.call("claim orders", async |connection| {
            Script::begin().run(connection).await?;
            let lock = sqlx::query_as(LOCK_DUE).bind(scan.from).bind(scan.ahead_us).bind(rescues_below);
            let rows: Vec<OrderRow> = lock.bind(worker_id.uuid()).bind(limit).fetch_all(&mut *connection).await?;
            let (locked, since) = (rows.len(), rows.first().map(|row| row.available_at));
            let mut due = readable(connection, rows).await?;
            let set_aside = locked - due.len();
            let share = share(&due, suspects == Suspects::Take);
            due.truncate(if let Share::Take(count) = share { count } else { 0 });
            let mut script = Script::default();
            if !due.is_empty() {
                let token = ClaimToken::fresh();
                let order_ids: Vec<_> = due.iter().map(|order| order.order_id).collect();
                script = script
                    .then(claim(token, worker_id, order_ids.iter().map(|order_id| order_id.uuid())))
                    .then(claims::insert(token, worker_id, &order_ids));
                script = claims::delete(script, &ended);
                doubtful = due.into_iter().map(|order| Claim::new(claimed(order, worker_id), token)).collect();
            }
            let end = if set_aside > 0 || !doubtful.is_empty() {
                let delta = CountDelta::default()
                    .moved(OrderStatus::Pending, OrderStatus::Failed, set_aside as u64)
                    .moved(OrderStatus::Pending, OrderStatus::Processing, doubtful.len() as u64);
                script.then(delta.statement()).commit()
            } else {
                script.rollback()
            };
            end.run(connection).await?;
            Ok((share != Share::WaitUntilIdle).then_some(since))
        });
        let claimed = claimed.await;
        // What the server rejected did not happen, so that nothing is doubtful.
        if claimed.as_ref().is_err_and(StoreError::had_no_effect) {
            doubtful.clear();
        }
        if let Some(claim) = doubtful.first() {
            self.batches.begin(claim.token(), doubtful.len());
        }
        if claimed.is_err() || doubtful.is_empty() {
            self.batches.put_back(ended);
        }
        match claimed {
            Ok(Some(since)) => Ok(Claimed::Orders { claims: doubtful, since }),
            Ok(None) => Ok(Claimed::WaitUntilIdle),
            Err(error) => Err(ClaimError { error, doubtful }),
        }
    }
}

/// The rows as orders; those that are none are set aside as FAILED.
async fn readable(connection: &mut MySqlConnection, rows: Vec<OrderRow>) -> Result<Vec<Order>, sqlx::Error> {
    let mut orders = Vec::with_capacity(rows.len());
    for row in rows {
        match Order::try_from(row) {
            Ok(order) => orders.push(order),
            Err(unreadable) => set_aside(connection, &unreadable).await?,
        }
    }
    Ok(orders)
}

async fn set_aside(connection: &mut MySqlConnection, unreadable: &Unreadable) -> Result<(), sqlx::Error> {
    tracing::error!(%unreadable, "a row is no order and is set aside as FAILED");
    let (why, order_id) = (short(&unreadable.to_string()), unreadable.order_id.uuid());
    sqlx::query(SET_ASIDE).bind(why).bind(order_id).execute(&mut *connection).await?;
    sqlx::query(NOTE_SET_ASIDE).bind(Uuid::now_v7()).bind(order_id).execute(connection).await?;
    Ok(())
}

/// The order as the claim left it, but for the times, which only the database knows.
fn claimed(order: Order, worker_id: WorkerId) -> Order {
    let attempt = order.attempt.saturating_add(1);
    Order { status: OrderStatus::Processing, attempt, available_at: None, worker_id: Some(worker_id), ..order }
}
