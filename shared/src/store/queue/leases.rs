//! Chores that one worker does for all. The worker holds the lease of the chore for as long as it lives.

use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::WorkerId;
use crate::store::orders::keys;
use crate::store::{Store, StoreError};

/// A chore that only one worker does at a time.
#[derive(Clone, Copy, Debug)]
enum Chore {
    /// Deleting idempotency keys that are old.
    PruneIdempotencyKeys,
}

impl Chore {
    /// The name of its lease. Two releases that named it differently would both do it.
    const fn name(self) -> &'static str {
        match self {
            Self::PruneIdempotencyKeys => "prune_idempotency_keys",
        }
    }
}

/// Who holds a lease, and whether that worker is alive.
const HOLDER: &str = r"
    select leases.worker_id, workers.worker_id is not null
    from leases
    left join workers on workers.worker_id = leases.worker_id
    where leases.chore = ?
";

/// Takes a lease over from the last holder, or proves that this worker still has it. Until the end of the transaction no
/// other worker can take it.
const TAKE: &str = r"
    update leases
    set taken_at = if(worker_id = ?, taken_at, now(6)),
        worker_id = ?
    where chore = ? and worker_id = ?
";

const TAKE_FIRST: &str = "insert ignore into leases (chore, worker_id) values (?, ?)";

impl Store {
    /// Deletes up to [`PRUNE_MAX`](keys::PRUNE_MAX) idempotency keys that are older than 25 hours, oldest first, and returns
    /// how many; `None` if another worker has this chore.
    pub async fn prune_idempotency_keys(&self, worker_id: WorkerId) -> Result<Option<u64>, StoreError> {
        self.under_lease("prune idempotency keys", Chore::PruneIdempotencyKeys, worker_id, keys::prune).await
    }

    /// Does one batch of a chore, in a transaction of its own, if `worker_id` holds the lease or no live worker does. Returns
    /// `None` if another worker has it. A worker that was declared dead meanwhile cannot commit beside the next holder.
    async fn under_lease<T>(
        &self,
        doing: &'static str,
        chore: Chore,
        worker_id: WorkerId,
        batch: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, sqlx::Error>,
    ) -> Result<Option<T>, StoreError> {
        self.transaction(doing, async |connection| {
            Ok(if holds(connection, chore.name(), worker_id.uuid()).await? {
                Some(batch(connection).await?)
            } else {
                None
            })
        })
        .await
    }
}

async fn holds(connection: &mut MySqlConnection, chore: &str, worker_id: Uuid) -> Result<bool, sqlx::Error> {
    let holder: Option<(Uuid, bool)> = sqlx::query_as(HOLDER).bind(chore).fetch_optional(&mut *connection).await?;
    let taken = match holder {
        Some((holder, true)) if holder != worker_id => return Ok(false),
        Some((holder, _)) => sqlx::query(TAKE).bind(worker_id).bind(worker_id).bind(chore).bind(holder),
        None => sqlx::query(TAKE_FIRST).bind(chore).bind(worker_id),
    };
    Ok(taken.execute(connection).await?.rows_affected() == 1)
}
