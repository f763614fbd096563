use std::net::SocketAddr;

use crate::store::{Store, StoreError};

/// Bells that a caller keeps in mind at most. Of more workers these are enough to find one that is idle.
const ADDRESSES_MAX: u32 = 1_000;

/// Reads the whole table, which has a row for each worker.
const WAKEUP_ADDRESSES: &str = r"
    select wakeup_address
    from workers
    where expires_at > now(6) and wakeup_address is not null
    order by worker_id
    limit ?
";

impl Store {
    /// Where live workers hear that orders are there. What is no address is left out.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn wakeup_addresses(&self) -> Result<Vec<SocketAddr>, StoreError> {
        self.call("list the wakeup addresses of the workers", async {
            let mut line = self.line().await?;
            let addresses: Vec<String> =
                sqlx::query_scalar(WAKEUP_ADDRESSES).bind(ADDRESSES_MAX).fetch_all(&mut *line).await?;
            line.done();
            Ok(addresses.iter().filter_map(|address| address.parse().ok()).collect())
        })
        .await
    }
}
