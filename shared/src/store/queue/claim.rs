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
use super::clock::{Scan, earliest};
use super::outages;
use super::outcome::BatchError;
use crate::domain::{
    Claim, ClaimToken, EventKind, Order, OrderStatus, RESCUES_MAX, SUSPECT_FROM, Share, Suspects, WorkerId, share,
};
use crate::store::hot::{Hot, LIMIT};
use crate::store::orders::counts::CountDelta;
use crate::store::orders::row::{OrderRow, Unreadable, order_columns};
use crate::store::sql::{Id, Script, Value, ids, never, short, status};
use crate::store::{Store, StoreError};

/// Whether a waiting order is due, even if the clock went back. Then orders that were placed or changed before that
/// seem to lie in the future, and statements look that far ahead (`clock.rs`). Such an order is due, unless its client
/// wants it later, if it was due when it was placed, or if its last change lies in the future.
macro_rules! is_due {
    () => {
        "(
            available_at <= now(6)
            or (available_at = created_at or updated_at > now(6)) and (process_after is null or process_after <= now(6))
        )"
    };
}
pub(in crate::store) use is_due;

/// The oldest due orders from a certain time on that nobody else is claiming, unless the queue is paused or the worker
/// was declared dead. `orders_by_status` ends in exactly this order, so that no row beyond the limit is read, sorted or
/// locked, except the few suspects that are passed over.
const LOCK_DUE: &str = concat!(
    "select ",
    order_columns!(),
    r"
    from orders force index (orders_by_status)
    where listed_as = ",
    status!(Pending),
    " and available_at between ? and now(6) + interval ? microsecond and ",
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
fn claim(token: ClaimToken, worker_id: WorkerId, order_ids: impl IntoIterator<Item = Uuid>) -> String {
    format!(
        r"
        update orders force index (primary)
        set status = {processing},
            attempt = attempt + 1,
            available_at = {never},
            claim_token = {token},
            worker_id = {worker_id},
            claimed_at = now(6),
            updated_at = now(6)
        where order_id in ({order_ids}) and status = {pending}
        ",
        processing = status!(Processing),
        never = never!(),
        token = Id(token.uuid()),
        worker_id = Id(worker_id.uuid()),
        order_ids = ids(order_ids),
        pending = status!(Pending),
    )
}

const SET_ASIDE: &str = concat!(
    "update orders set status = ?, last_error = ?, updated_at = now(6), available_at = ",
    never!(),
    " where order_id = ? and status = ?"
);

const NOTE_SET_ASIDE: &str = r"
    insert into order_events (order_id, at, event_id, event, error)
    select order_id, updated_at, ?, ?, last_error
    from orders
    where order_id = ?
";

pub(in crate::store) fn hot_statements(sample: Uuid) -> Vec<Hot> {
    let nobody = Uuid::nil();
    let rescues_below = Value::Number(RESCUES_MAX.into());
    let due =
        vec![Value::Time(earliest()), Value::Number(0), rescues_below, Value::Id(nobody), Value::Number(LIMIT.into())];
    vec![
        Hot::listing("lock due orders", LOCK_DUE, due, "orders_by_status"),
        Hot::of_ids("claim orders", claim(nobody.into(), nobody.into(), [sample, nobody])),
    ]
}

/// The result of a claim.
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
    /// No orders: the next one is a suspect, and this worker is not idle.
    WaitUntilIdle,
}

impl Claimed {
    /// Nothing is due.
    pub const NONE: Self = Self::Orders { claims: Vec::new(), since: None };
}

/// Due orders, locked by the transaction of a claim.
#[derive(Default)]
struct Due {
    /// Those that the claim takes.
    claims: Vec<Claim>,
    /// When the first one became due, whether it is taken or not.
    since: Option<DateTime<Utc>>,
    waits_until_idle: bool,
    /// How many rows were unreadable, and are FAILED now.
    set_aside: u64,
}

impl Store {
    /// Claims up to `limit` due orders for a worker, the longest due first. With a `cursor`, it begins at that time: a
    /// claim also reads the index entries of orders claimed before, as long as somebody's read view may need them, and
    /// the cursor passes over most of these.
    ///
    /// No other claimer gets these orders, and none waits for this one. A suspect (see [`Order::is_suspect`]) is
    /// claimed alone, and only by an idle worker; others pass over it or wait, as `suspects` says. An unreadable row
    /// becomes FAILED, so that it does not block the queue.
    ///
    /// What an error has `left` is claimed all the same if the commit took effect and only its answer was lost: the
    /// caller must release it.
    pub async fn claim(
        &self,
        worker_id: WorkerId,
        limit: u32,
        suspects: Suspects,
        cursor: Option<DateTime<Utc>>,
    ) -> Result<Claimed, BatchError<Claim>> {
        let (scan, ended) = (self.clock.scan(cursor), self.batches.take_ended());
        let mut due = None;
        let written = self.call("claim orders", async |connection| {
            let due = due.insert(lock_due(connection, worker_id, limit, suspects, scan).await?);
            write(connection, worker_id, due, &ended).await
        });
        let written = written.await;
        self.hand_out(due.unwrap_or_default(), written, ended)
    }

    /// The result of a claim, whose orders are in this process's hands from now on. If it wrote claims, it also deleted
    /// the rows of the batches that have `ended`.
    fn hand_out(
        &self,
        Due { mut claims, since, waits_until_idle, .. }: Due,
        written: Result<(), StoreError>,
        ended: Vec<ClaimToken>,
    ) -> Result<Claimed, BatchError<Claim>> {
        // Then certainly nothing was claimed.
        if written.as_ref().is_err_and(StoreError::had_no_effect) {
            claims.clear();
        }
        if let Some(claim) = claims.first() {
            self.batches.begin(claim.token(), claims.len());
        }
        if written.is_err() || claims.is_empty() {
            self.batches.put_back(ended);
        }
        match written {
            Ok(()) if waits_until_idle => Ok(Claimed::WaitUntilIdle),
            Ok(()) => Ok(Claimed::Orders { claims, since }),
            Err(error) => Err(BatchError::new(error, claims)),
        }
    }
}

/// Begins a transaction, and locks due orders in it.
async fn lock_due(
    connection: &mut MySqlConnection,
    worker_id: WorkerId,
    limit: u32,
    suspects: Suspects,
    scan: Scan,
) -> Result<Due, sqlx::Error> {
    let rescues_below = if suspects == Suspects::PassOver { SUSPECT_FROM } else { RESCUES_MAX };
    Script::begin().run(connection).await?;
    let lock = sqlx::query_as(LOCK_DUE).bind(scan.from).bind(scan.ahead_us).bind(rescues_below);
    let rows: Vec<OrderRow> = lock.bind(worker_id.uuid()).bind(limit).fetch_all(&mut *connection).await?;
    let (locked, since) = (rows.len(), rows.first().map(|row| row.available_at));
    let orders = readable(connection, rows).await?;
    let set_aside = (locked - orders.len()) as u64;
    let share = share(&orders, suspects == Suspects::Take);
    let count = if let Share::Take(count) = share { count } else { 0 };
    let token = ClaimToken::fresh();
    let claims = orders.into_iter().take(count).map(|order| Claim::new(claimed(order, worker_id), token)).collect();
    Ok(Due { claims, since, waits_until_idle: share == Share::WaitUntilIdle, set_aside })
}

/// The order as the claim leaves it, except for the times, which only the database knows.
fn claimed(order: Order, worker_id: WorkerId) -> Order {
    let attempt = order.attempt.saturating_add(1);
    Order { status: OrderStatus::Processing, attempt, available_at: None, worker_id: Some(worker_id), ..order }
}

/// Writes the claims, and ends the transaction.
async fn write(
    connection: &mut MySqlConnection,
    worker_id: WorkerId,
    Due { claims, set_aside, .. }: &Due,
    ended: &[ClaimToken],
) -> Result<(), sqlx::Error> {
    let mut script = Script::default();
    if let Some(token) = claims.first().map(Claim::token) {
        let order_ids: Vec<_> = claims.iter().map(Claim::order_id).collect();
        script = script
            .then(claim(token, worker_id, order_ids.iter().map(|order_id| order_id.uuid())))
            .then(claims::insert(token, worker_id, &order_ids));
        script = claims::delete(script, ended);
    }
    let moved = CountDelta::default().moved(OrderStatus::Pending, OrderStatus::Failed, *set_aside).moved(
        OrderStatus::Pending,
        OrderStatus::Processing,
        claims.len() as u64,
    );
    let is_nothing = moved == CountDelta::default();
    let script = if is_nothing { script.rollback() } else { script.then(moved.statement()).commit() };
    script.run(connection).await.map(drop)
}

/// The rows as orders; unreadable ones are set aside as FAILED.
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
    let set_aside = sqlx::query(SET_ASIDE).bind(OrderStatus::Failed.name()).bind(why).bind(order_id);
    set_aside.bind(OrderStatus::Pending.name()).execute(&mut *connection).await?;
    let note = sqlx::query(NOTE_SET_ASIDE).bind(Uuid::now_v7()).bind(EventKind::Failed.name()).bind(order_id);
    note.execute(&mut *connection).await?;
    outages::end(Script::default(), [unreadable.order_id].into_iter()).run(connection).await.map(drop)
}
