use uuid::Uuid;

use crate::domain::OrderId;
use crate::store::sql::{json_of_ids, orders_by_id};
use crate::store::{Store, StoreError};

pub(in crate::store) const ENDED: &str =
    concat!("select orders.order_id", orders_by_id!(), "where orders.status in ('COMPLETED', 'FAILED', 'CANCELED')");

impl Store {
    /// Those of the orders with which nothing more will happen by itself: COMPLETED, FAILED or CANCELED.
    pub async fn ended(&self, order_ids: &[OrderId]) -> Result<Vec<OrderId>, StoreError> {
        let listed = json_of_ids(order_ids.iter().copied());
        self.call("see which orders ended", async |connection| {
            let ended: Vec<Uuid> = sqlx::query_scalar(ENDED).bind(listed).fetch_all(&mut *connection).await?;
            Ok(ended.into_iter().map(OrderId::from).collect())
        })
        .await
    }
}
