use std::net::SocketAddr;

use super::{Store, StoreError};

/// Bells that a caller keeps in mind at most. Of more workers these are enough to find one that is idle.
const BELLS_MAX: u32 = 1_000;

/// Reads the whole table, which has a row for each worker.
const BELLS: &str = r"
    select bell
    from workers
    where expires_at > now(6) and bell is not null
    order by worker_id
    limit ?
";

impl Store {
    /// Where live workers hear that orders are there. What is no address is left out.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn bells(&self) -> Result<Vec<SocketAddr>, StoreError> {
        self.call("list the bells of the workers", async {
            let mut line = self.line().await?;
            let bells: Vec<String> = sqlx::query_scalar(BELLS).bind(BELLS_MAX).fetch_all(&mut *line).await?;
            line.done();
            Ok(bells.iter().filter_map(|bell| bell.parse().ok()).collect())
        })
        .await
    }
}
