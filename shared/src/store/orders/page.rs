//! How a page of orders is read, and where it ends.

use futures_util::TryStreamExt;
use sqlx::MySqlConnection;
use sqlx::mysql::{MySql, MySqlArguments, MySqlRow};
use sqlx::query::QueryAs;

use super::page_sql::{FULL, LISTED, Queries};
use super::row::{ListedRow, OrderRow, Unreadable};
use crate::domain::{ListedOrder, Order, OrderId, Page, PageKey};

/// Bytes of orders at which a page ends, whatever its limit: thousands of usual ones, some twenty of the largest. Lower, large
/// orders would need many pages; higher, a dozen readers of the largest pages would need the memory of the whole process.
pub const PAGE_BYTES_MAX: usize = 1_536 << 10;

/// Bytes of an order at most as a page counts them: all its items with many digits, the largest metadata and the longest error.
/// Only what an earlier release took may be larger.
pub const ORDER_BYTES_MAX: usize = 64 << 10;

/// A view of orders that pages show.
pub(in crate::store) trait ListRow: for<'r> sqlx::FromRow<'r, MySqlRow> + Send + Unpin {
    /// What it is read as.
    type Order: TryFrom<Self, Error = Unreadable> + Send;

    const QUERIES: Queries;

    /// Rows that one statement asks for at most, so that the server sends few in vain where a page ends by its bytes; more than a
    /// page has by default.
    const CHUNK: u32;

    fn key(&self) -> PageKey;

    /// Bytes of the order in memory, and in an answer, roughly. A number takes more room than its digits where it has few.
    fn bytes(&self) -> usize;
}

impl ListRow for OrderRow {
    type Order = Order;

    const QUERIES: Queries = FULL;
    const CHUNK: u32 = 64;

    fn key(&self) -> PageKey {
        PageKey { created_at: self.created_at, order_id: OrderId::from(self.order_id) }
    }

    fn bytes(&self) -> usize {
        const FIXED: usize = 640;
        let texts = [&self.metadata, &self.last_error].map(|text| text.as_ref().map_or(0, String::len));
        FIXED + 2 * self.item_ids.len() + texts.iter().sum::<usize>()
    }
}

impl ListRow for ListedRow {
    type Order = ListedOrder;

    const QUERIES: Queries = LISTED;
    const CHUNK: u32 = 128;

    fn key(&self) -> PageKey {
        PageKey { created_at: self.created_at, order_id: OrderId::from(self.order_id) }
    }

    fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + 2 * self.item_ids.len()
    }
}

/// The part of an index that a page is read from: `from` is exclusive, `to` inclusive.
#[derive(Clone, Copy)]
pub(in crate::store) struct Span {
    pub(in crate::store) from: PageKey,
    pub(in crate::store) to: PageKey,
}

pub(in crate::store) type PageQuery<T> = QueryAs<'static, MySql, T, MySqlArguments>;

impl Span {
    /// The query with the ends of the span, and `limit`, as its last values.
    pub(in crate::store) fn bind<T>(self, query: PageQuery<T>, limit: u32) -> PageQuery<T> {
        let Self { from, to } = self;
        // As DATETIMEs: bound as TIMESTAMPs, which end in 2038, the far ends of a list would be no times.
        let (latest, earliest) = (from.created_at.naive_utc(), to.created_at.naive_utc());
        let query = query.bind(latest).bind(latest).bind(from.order_id.uuid());
        query.bind(earliest).bind(earliest).bind(to.order_id.uuid()).bind(limit)
    }

    /// Reads a page, statement by statement, row by row: of a row that the page has no room for, only that it is there stays in
    /// memory.
    pub(in crate::store) async fn read<R: ListRow>(
        mut self,
        connection: &mut MySqlConnection,
        limit: u16,
        query: impl Fn() -> PageQuery<R> + Send,
    ) -> Result<Page<R::Order>, sqlx::Error> {
        let mut filling = Filling::<R>::new(limit);
        loop {
            let asked = filling.next_chunk();
            let mut got = 0;
            let mut rows = self.bind(query(), asked).fetch(&mut *connection);
            while let Some(row) = rows.try_next().await? {
                got += 1;
                filling.push(row);
            }
            drop(rows);
            match filling.last {
                Some(last) if got == asked && !filling.has_next => self.from = last,
                _ => return Ok(filling.page()),
            }
        }
    }
}

/// A page that is being read.
struct Filling<R: ListRow> {
    orders: Vec<R::Order>,
    limit: u32,
    rows: u32,
    bytes: usize,
    last: Option<PageKey>,
    /// Whether there is a row behind the page.
    has_next: bool,
}

impl<R: ListRow> Filling<R> {
    fn new(limit: u16) -> Self {
        Self { orders: Vec::new(), limit: limit.into(), rows: 0, bytes: 0, last: None, has_next: false }
    }

    fn is_full(&self) -> bool {
        self.rows >= self.limit || self.bytes >= PAGE_BYTES_MAX
    }

    /// Rows to ask for: those that are still wanted, and one that tells whether there is a next page.
    fn next_chunk(&self) -> u32 {
        if self.is_full() { 1 } else { (self.limit - self.rows + 1).min(R::CHUNK) }
    }

    /// Takes a row, unless the page is full. One that is no order is left out, and logged: those beside it are still listed.
    fn push(&mut self, row: R) {
        if self.is_full() {
            self.has_next = true;
            return;
        }
        self.rows += 1;
        self.bytes += row.bytes();
        self.last = Some(row.key());
        match R::Order::try_from(row) {
            Ok(order) => self.orders.push(order),
            Err(unreadable) => tracing::error!(%unreadable, "an order is left out of its list"),
        }
    }

    fn page(self) -> Page<R::Order> {
        Page { orders: self.orders, next: self.last.filter(|_| self.has_next) }
    }
}
