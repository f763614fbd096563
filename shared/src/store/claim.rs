use sqlx::Connection;

use super::finish::as_json;
use super::row::{OrderRow, order_columns};
use super::{Store, StoreError, row};
use crate::domain::{Claim, ClaimToken, Order, OrderStatus};

/// The oldest due orders that nobody else is claiming. `orders_by_status` ends in exactly this order, so that no row
/// beyond the limit is read, sorted or locked.
const LOCK_DUE: &str = concat!(
    "select ",
    order_columns!(),
    r"
    from orders force index (orders_by_status)
    where status = 'PENDING' and due_at <= now(6)
    order by due_at, order_id
    limit ?
    for update skip locked
    "
);

const CLAIM: &str = r"
    update json_table(?, '$[*]' columns (order_id char(32) path '$[0]', token char(32) path '$[1]')) as locked
    straight_join orders force index (primary) on orders.order_id = unhex(locked.order_id)
    set orders.status = 'PROCESSING',
        orders.attempt = orders.attempt + 1,
        orders.due_at = null,
        orders.claim_token = unhex(locked.token),
        orders.claimed_at = now(6),
        orders.updated_at = now(6)
    where orders.status = 'PENDING'
";

impl Store {
    /// Claims up to `limit` due orders, the longest due first; fewer, or none, when no more are due.
    ///
    /// No other claimer gets these orders, and none waits for this one.
    ///
    /// # Errors
    ///
    /// When the database is away or refuses; then nothing is claimed, except where the connection was lost in the
    /// middle of the commit.
    pub async fn claim(&self, limit: u32) -> Result<Vec<Claim>, StoreError> {
        self.lock_and_claim(limit).await.map_err(StoreError::when("claim orders"))
    }

    async fn lock_and_claim(&self, limit: u32) -> Result<Vec<Claim>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let due: Vec<OrderRow> = sqlx::query_as(LOCK_DUE).bind(limit).fetch_all(&mut *transaction).await?;
        let due = row::orders(due)?;
        if due.is_empty() {
            transaction.rollback().await?;
            return Ok(Vec::new());
        }

        let token = ClaimToken::fresh();
        let locked = as_json(due.iter().map(|order| (order.order_id, token)));
        sqlx::query(CLAIM).bind(locked).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(due.into_iter().map(|order| Claim::new(claimed(order), token)).collect())
    }
}

/// The order as the claim left it, but for the times, which only the database knows.
fn claimed(order: Order) -> Order {
    Order { status: OrderStatus::Processing, attempt: order.attempt + 1, due_at: None, ..order }
}
