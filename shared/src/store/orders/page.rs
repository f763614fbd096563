//! Reads a page of orders as planned, and decides where it ends.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlRow;
use uuid::Uuid;

use super::list_plan::{ListPlan, Span, Way};
use super::page_sql;
use super::row::{ListedRow, OrderRow, Unreadable};
use crate::domain::{ListedOrder, Order, OrderId, OrderStatus, Page, PageKey};
use crate::store::sql::Value;

/// A page ends at so many bytes of orders, whatever its limit: thousands of usual orders, or some twenty of the
/// largest. Lower, large orders would need many pages; higher, a dozen readers of the largest pages would take all
/// memory of the process.
pub const PAGE_BYTES_MAX: usize = 1_536 << 10;

/// The most bytes of an order, as a page counts them: all its items with many digits, the largest metadata and the
/// longest error. Only orders that an earlier release accepted may be larger.
pub const ORDER_BYTES_MAX: usize = 64 << 10;

/// The most orders that one page looks at if no index serves all its filters. More would make such a page more
/// expensive than others, fewer would make more pages short.
const WALK_MAX: u32 = 5_000;

/// A view of orders that pages show.
pub(in crate::store) trait ListRow: for<'r> sqlx::FromRow<'r, MySqlRow> + Send + Unpin {
    /// What a row is turned into.
    type Order: TryFrom<Self, Error = Unreadable> + Send;

    /// The most rows that one statement asks for, so that the server sends few in vain if the bytes of a page run out
    /// first. It is more than a page has by default.
    const CHUNK: u32;

    /// The statement that reads a page in some way.
    const STATEMENT: fn(Way) -> &'static str;

    fn key(&self) -> PageKey;

    /// Bytes of the order in memory and in an answer, roughly. A number of few digits takes more room than they do.
    fn bytes(&self) -> usize;
}

impl ListRow for OrderRow {
    type Order = Order;

    const CHUNK: u32 = 64;
    const STATEMENT: fn(Way) -> &'static str = page_sql::full;

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

    const CHUNK: u32 = 128;
    const STATEMENT: fn(Way) -> &'static str = page_sql::listed;

    fn key(&self) -> PageKey {
        PageKey { created_at: self.created_at, order_id: OrderId::from(self.order_id) }
    }

    fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + 2 * self.item_ids.len()
    }
}

impl ListPlan {
    /// Reads the page, at most `limit` orders, statement by statement and row by row. Of a row that the page has no
    /// room for, only its existence is remembered.
    pub(super) async fn read<R: ListRow>(
        self,
        connection: &mut MySqlConnection,
        limit: u16,
    ) -> Result<Page<R::Order>, sqlx::Error> {
        let Self { mut span, way, if_many } = self;
        let way = match if_many {
            Some((status, walk)) if !are_few(connection, status).await? => walk,
            _ => way,
        };
        let end = if way.is_walk() { end_of_walk(connection, way, span).await? } else { None };
        span.to = end.unwrap_or(span.to);
        let mut filling = Filling::<R>::new(limit);
        loop {
            let asked = filling.next_chunk();
            let mut got = 0;
            let values = Value::bind(&page_sql::values(way, span, asked))?;
            let mut rows = sqlx::query_as_with((R::STATEMENT)(way), values).fetch(&mut *connection);
            while let Some(row) = rows.try_next().await? {
                got += 1;
                filling.push(row);
            }
            drop(rows);
            match filling.last {
                Some(last) if got == asked && !filling.has_next => span.from = last,
                _ => return Ok(filling.page(end)),
            }
        }
    }
}

/// Whether a status has few enough orders to look at all of them.
async fn are_few(connection: &mut MySqlConnection, status: OrderStatus) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar(page_sql::COUNT_UP_TO).bind(status.name()).bind(WALK_MAX + 1);
    let count: i64 = query.fetch_one(connection).await?;
    Ok(count <= i64::from(WALK_MAX))
}

/// The last order that a page may look at; `None` if it may look at all of them.
async fn end_of_walk(connection: &mut MySqlConnection, way: Way, span: Span) -> Result<Option<PageKey>, sqlx::Error> {
    let (sql, values) = page_sql::end_of_walk(way, span, WALK_MAX - 1);
    let query = sqlx::query_as_with(sql, Value::bind(&values)?);
    let end: Option<(DateTime<Utc>, Uuid)> = query.fetch_optional(connection).await?;
    Ok(end.map(|(created_at, order_id)| PageKey { created_at, order_id: order_id.into() }))
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

    /// Rows to ask for: those that are missing, and one that shows whether there is a next page.
    fn next_chunk(&self) -> u32 {
        if self.is_full() { 1 } else { (self.limit - self.rows + 1).min(R::CHUNK) }
    }

    /// Takes a row, unless the page is full. An unreadable row is logged and left out, so that its neighbours are still
    /// listed.
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

    /// The page. If it is not full but stopped at `end`, the next one goes on from there.
    fn page(self, end: Option<PageKey>) -> Page<R::Order> {
        Page { orders: self.orders, next: self.last.filter(|_| self.has_next).or(end) }
    }
}
