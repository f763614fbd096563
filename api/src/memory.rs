//! The memory budget of the API, and how it is shared.
//!
//! The budget is divided into shares that never lend to each other: a create finds room whatever readers hold, and
//! clients that send large bodies slowly take nothing from orders that wait to be written. A request takes room before
//! it takes memory; if there is no room, it is turned away.

use std::sync::Arc;
use std::time::Duration;

use orders_shared::store::{ORDER_BYTES_MAX, PAGE_BYTES_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

const MIB: usize = 1 << 20;

/// Memory outside the shares: about 20 MiB at rest (code, threads, connections to the database, the OpenAPI page), and
/// as much again for short work that no share counts, on each thread: parsing a body, writing or compressing an answer.
const BASE_BYTES: usize = 40 * MIB;

/// The rest is divided into this many parts.
const PARTS: usize = 12;

/// For connections. With fewer parts, clients would be turned away although there is memory; with more, none would be
/// left for their requests.
const CONNECTIONS_PARTS: usize = 4;

/// For bodies that are arriving, and for the answers that repeat them.
const BODIES_PARTS: usize = 2;

/// For orders that wait to be written.
const INTAKE_PARTS: usize = 3;

/// For rows that are read, and for the answers made from them.
const READS_PARTS: usize = 3;

/// Bytes of a connection: measured, one holds 13 kB at rest, and 34 kB while a head of 16 KiB arrives slowly. One in
/// three may do that at a time.
const CONNECTION_BYTES: usize = 20 << 10;

/// Bytes of a connection to the database: the driver's two buffers of 8 KiB, and two of 16 KiB for TLS.
const DATABASE_CONNECTION_BYTES: usize = 48 << 10;

/// One part in this many of the budget may go to connections to the database. The base covers the default number of
/// them; many more would take memory that the shares promise to requests.
const DATABASE_ONE_IN: usize = 4;

/// Pages that are read at a time. More would take the database's connections away from creates; with fewer, one slow
/// page would hold up the others.
const PAGES_MAX: usize = 4;

/// How long a page waits for its permit and its room. Longer would pile up readers without room; shorter would turn
/// away readers that merely came at the same moment.
const PAGE_WAITS: Duration = Duration::from_secs(1);

/// The memory of one process.
#[derive(Debug)]
pub struct MemoryBudget {
    /// For bodies that are arriving, and the answers to them.
    pub(crate) bodies: Share,
    /// For orders that wait to be written.
    pub(crate) intake: Share,
    /// For rows that are read, and the answers made from them.
    pub(crate) reads: Share,
    pages: Arc<Semaphore>,
    connections_bytes: usize,
}

impl MemoryBudget {
    /// Minimum mebibytes: with fewer, single requests would need more than their share.
    pub const MB_MIN: u32 = 64;

    /// Maximum mebibytes: more than any machine has, but countable in bytes.
    pub const MB_MAX: u32 = 1 << 20;

    /// The least mebibytes with which a process may have this many connections to the database.
    #[must_use]
    pub fn mb_for_database(connections: usize) -> u32 {
        let mebibytes = (connections * DATABASE_CONNECTION_BYTES * DATABASE_ONE_IN).div_ceil(MIB);
        u32::try_from(mebibytes).unwrap_or(u32::MAX)
    }

    /// A budget of this many mebibytes, within [`MB_MIN`](Self::MB_MIN) and [`MB_MAX`](Self::MB_MAX).
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

    /// The permit to read a page of up to `limit` entries, and its room; `None` if they are not available in time.
    pub(crate) async fn page(&self, limit: u16) -> Option<(OwnedSemaphorePermit, Room)> {
        let deadline = tokio::time::Instant::now() + PAGE_WAITS;
        let permit = timeout_at(deadline, Arc::clone(&self.pages).acquire_owned()).await.ok()?.ok()?;
        // Twice: the rows, and the text made from them.
        let bytes = 2 * PAGE_BYTES_MAX.min(usize::from(limit) * ORDER_BYTES_MAX);
        let room = timeout_at(deadline, self.reads.wait(bytes)).await.ok()??;
        Some((permit, room))
    }
}

/// A number of bytes that requests share.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    free: Arc<Semaphore>,
    bytes: usize,
}

/// Bytes that a request has taken from a share. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    share: Share,
}

impl Share {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes)), bytes }
    }

    /// The size of the share.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that are free.
    pub(crate) fn left(&self) -> usize {
        self.free.available_permits()
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.bytes.saturating_sub(self.left())
    }

    /// Takes room; `None` if there is too little. A request that needs more than the whole share takes the whole share:
    /// with a small budget, the largest requests are served one at a time.
    pub(crate) fn take(&self, bytes: usize) -> Option<Room> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(self.permits(bytes)?).ok()?;
        Some(Room { permit, share: self.clone() })
    }

    /// Takes room as soon as there is enough.
    async fn wait(&self, bytes: usize) -> Option<Room> {
        let permit = Arc::clone(&self.free).acquire_many_owned(self.permits(bytes)?).await.ok()?;
        Some(Room { permit, share: self.clone() })
    }

    fn permits(&self, bytes: usize) -> Option<u32> {
        u32::try_from(bytes.min(self.bytes)).ok()
    }

    /// Resizes `room` to this many bytes, or takes it; if there is too little left, changes nothing and returns
    /// `false`.
    pub(crate) fn fit(&self, room: &mut Option<Room>, bytes: usize) -> bool {
        if let Some(room) = room {
            return room.resize(bytes);
        }
        *room = self.take(bytes);
        room.is_some()
    }
}

impl Room {
    /// Resizes it to this many bytes, or to the whole share; if there is too little left, changes nothing and returns
    /// `false`.
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
    fn the_shares_and_the_base_are_together_no_more_than_the_setting() {
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
        assert_eq!(share.left(), 0, "a request that needs more than the share takes all of it");
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
