use std::time::Duration;

use super::{Store, StoreError};
use crate::domain::{OrderCounts, OrderStatus};

/// Counting reads the whole table.
const COUNT_LIMIT: Duration = Duration::from_secs(30);

/// One statement, hence one moment. Reads every row: exact, at a cost that grows with the table.
const COUNTS: &str = r"
    select
        status,
        count(*) as orders,
        cast(coalesce(sum(timestampdiff(microsecond, created_at, completed_at)), 0) as signed) as processing_us
    from orders
    group by status
";

impl Store {
    /// How many orders stand where, all at the same moment.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn order_counts(&self) -> Result<OrderCounts, StoreError> {
        let rows: Vec<(String, i64, i64)> = self
            .long_call("count orders", COUNT_LIMIT, async {
                let _counting = self.counting.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
                let mut line = self.line().await?;
                let rows = sqlx::query_as(COUNTS).fetch_all(&mut *line).await?;
                line.done();
                Ok(rows)
            })
            .await?;
        let mut counts = OrderCounts::default();
        for (status, orders, processing_us) in rows {
            if let Ok(status) = status.parse::<OrderStatus>() {
                *counts.of_mut(status) = u64::try_from(orders).unwrap_or_default();
            }
            counts.processing_time += Duration::from_micros(u64::try_from(processing_us).unwrap_or_default());
        }
        Ok(counts)
    }
}
