//! How much memory the API takes at most, and who may take how much of it.
//!
//! One setting is divided into shares that never lend to one another: whatever readers hold, a create finds room, and whoever
//! sends large bodies slowly takes nothing from orders that wait to be written. Room is taken before the memory is, and
//! where there is none, the request is turned away.

use std::sync::Arc;
use std::time::Duration;

use orders_shared::store::{ORDER_BYTES_MAX, PAGE_BYTES_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

const MIB: usize = 1 << 20;

/// What the process needs besides what is shared out: some 20 MiB at rest (its code, the threads, connections to the
/// database, the OpenAPI page), and as much again for work that no share counts, as it is done in one go: a body being
/// parsed, an answer being written or compressed, on each thread.
const BASE_BYTES: usize = 40 * MIB;

/// The rest is divided into so many parts.
const PARTS: usize = 12;

/// For connections. Fewer parts would turn clients away while there is memory, more would leave none for what they ask.
const CONNECTIONS_PARTS: usize = 4;

/// For bodies that arrive, and for the answers to them, which repeat them.
const BODIES_PARTS: usize = 2;

/// For orders that wait to be written.
const INTAKE_PARTS: usize = 3;

/// For rows that are read, and for the answers made of them.
const READS_PARTS: usize = 3;

/// What a connection holds: 13 kB at rest, as measured, and room for one in three to have a head of 16 KiB that arrives
/// slowly, with which it holds 34 kB.
const CONNECTION_BYTES: usize = 20 << 10;

/// Pages of rows that are read at one time. More would take the database's connections from creates; fewer would let one
/// slow page hold the others up.
const PAGES_MAX: usize = 4;

/// How long a page waits for its permit and its room. Longer would gather readers for whom there is no room, shorter would
/// turn some away who only came at the same moment.
const PAGE_WAITS: Duration = Duration::from_secs(1);

/// The memory of one process.
#[derive(Debug)]
pub struct MemoryBudget {
    /// For bodies that arrive, and the answers to them.
    pub(crate) bodies: Share,
    /// For orders that wait to be written.
    pub(crate) intake: Share,
    /// For rows that are read, and the answers made of them.
    pub(crate) reads: Share,
    pages: Arc<Semaphore>,
    connections_bytes: usize,
}

impl MemoryBudget {
    /// Mebibytes at least: with fewer, the shares would be smaller than what single requests need.
    pub const MB_MIN: u32 = 64;

    /// Mebibytes at most: more than any machine has, few enough to be counted in bytes.
    pub const MB_MAX: u32 = 1 << 20;

    /// A budget of so many mebibytes, of [`MB_MIN`](Self::MB_MIN) at least.
    #[must_use]
    pub fn of_mb(mebibytes: u32) -> Self {
        let all = mebibytes.clamp(Self::MB_MIN, Self::MB_MAX) as usize * MIB;
        let part = all.saturating_sub(BASE_BYTES) / PARTS;
        Self {
            bodies: Share::of(BODIES_PARTS * part),
            intake: Share::of(INTAKE_PARTS * part),
            reads: Share::of(READS_PARTS * part),
            pages: Arc::new(Semaphore::new(PAGES_MAX)),
            connections_bytes: CONNECTIONS_PARTS * part,
        }
    }

    /// How many connections the server may have.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.connections_bytes / CONNECTION_BYTES
    }

    /// The permit to read a page that may have `limit` entries, and its room; `None` where there is none in time.
    pub(crate) async fn page(&self, limit: u16) -> Option<(OwnedSemaphorePermit, Room)> {
        let deadline = tokio::time::Instant::now() + PAGE_WAITS;
        let permit = timeout_at(deadline, Arc::clone(&self.pages).acquire_owned()).await.ok()?.ok()?;
        // The rows, and the text that is made of them.
        let bytes = 2 * PAGE_BYTES_MAX.min(usize::from(limit) * ORDER_BYTES_MAX);
        let room = timeout_at(deadline, self.reads.wait(bytes)).await.ok()??;
        Some((permit, room))
    }
}

/// Bytes that many may take, as long as there are some.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    free: Arc<Semaphore>,
    bytes: usize,
}

/// Bytes that somebody has taken from a share, until this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    share: Share,
}

impl Share {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes)), bytes }
    }

    /// All of it, taken or not.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that nobody has taken.
    pub(crate) fn left(&self) -> usize {
        self.free.available_permits()
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.bytes.saturating_sub(self.left())
    }

    /// Takes room. What needs more than all of the share takes all of it: where the budget is small, the largest requests are
    /// served one at a time.
    pub(crate) fn take(&self, bytes: usize) -> Option<Room> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(self.permits(bytes)?).ok()?;
        Some(Room { permit, share: self.clone() })
    }

    /// The same, once there is room.
    async fn wait(&self, bytes: usize) -> Option<Room> {
        let permit = Arc::clone(&self.free).acquire_many_owned(self.permits(bytes)?).await.ok()?;
        Some(Room { permit, share: self.clone() })
    }

    fn permits(&self, bytes: usize) -> Option<u32> {
        u32::try_from(bytes.min(self.bytes)).ok()
    }

    /// Makes a room as large as that, or takes one; `false`, and nothing changed, where there is not so much left.
    pub(crate) fn fit(&self, room: &mut Option<Room>, bytes: usize) -> bool {
        if let Some(room) = room {
            return room.resize(bytes);
        }
        *room = self.take(bytes);
        room.is_some()
    }
}

impl Room {
    /// Makes it as large as that, up to all of the share; `false`, and as large as before, where there is not so much left.
    fn resize(&mut self, bytes: usize) -> bool {
        let (bytes, now) = (bytes.min(self.share.bytes), self.permit.num_permits());
        if bytes <= now {
            drop(self.permit.split(now - bytes));
            return true;
        }
        let more = self.share.take(bytes - now);
        more.map(|more| self.permit.merge(more.permit)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_and_the_base_are_the_setting_at_most() {
        for mebibytes in [MemoryBudget::MB_MIN, 65, 192, 1_000, MemoryBudget::MB_MAX] {
            let budget = MemoryBudget::of_mb(mebibytes);

            let shares = budget.bodies.bytes + budget.intake.bytes + budget.reads.bytes;
            let all = BASE_BYTES + shares + budget.connections_max() * CONNECTION_BYTES;
            let most = mebibytes as usize * MIB;
            assert!((most - MIB..=most).contains(&all), "{mebibytes}: {all}");
        }
    }

    #[test]
    fn room_grows_and_shrinks_and_is_given_back() {
        let share = Share::of(100);
        let mut first = share.take(60).unwrap();

        assert!(share.take(41).is_none());
        let second = share.take(40).unwrap();
        assert!(!first.resize(61) && first.resize(50));
        assert_eq!((share.left(), share.taken()), (10, 90));
        assert!(first.resize(60));
        drop((first, second));

        assert_eq!(share.left(), 100);
        let mut all = share.take(1_000).unwrap();
        assert_eq!(share.left(), 0, "what needs more than all takes all");
        assert!(all.resize(2_000));
    }

    #[tokio::test]
    async fn a_page_waits_for_a_permit_and_no_longer_than_a_second() {
        let budget = MemoryBudget::of_mb(192);
        let mut pages = Vec::new();
        for _ in 0..PAGES_MAX {
            pages.push(budget.page(1).await.unwrap());
        }

        assert!(budget.page(1).await.is_none());
        let (next, ()) = tokio::join!(budget.page(1), async { drop(pages.pop()) });
        assert!(next.is_some());
    }
}
