//! Placing orders: many in one commit, with their keys and external ids, each exactly once.
//!
//! A key's row is written in the transaction of its orders: at no moment, and after no crash, does one exist without
//! the other. A batch with keys or external ids is sorted out in one transaction, which looks up the keys, then the
//! external ids, and inserts those of the new requests with their orders.
//!
//! Two processes may look at the same moment and both find nothing. Then one inserts first, and the other waits for it,
//! hits the primary key, rolls back and looks again. So the primary keys decide, and the lookups before only spare most
//! requests the error. A batch whose commit lost its answer is tried again in the same way; orders of its own that it
//! finds are placed.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::MySqlConnection;
use uuid::Uuid;

use super::counts::CountDelta;
use super::external_ids;
use super::keys;
use super::keys::PlaceResult;
use crate::domain::{Currency, ExternalId, NewOrder, OrderId, PlaceOutcome, Placed, Placement};
use crate::store::hot::Hot;
use crate::store::sql::{Id, Script, Text, Time, json_of_ids, orders_by_id};
use crate::store::{ErrorKind, Store, StoreError};

/// How often a batch is tried if others write the same key or external id at the same moment. Each try settles one such
/// race, so more are needed only as long as others keep winning.
const RACES_MAX: usize = 5;

const PLACED_ALREADY: &str = concat!("select orders.order_id, orders.created_at", orders_by_id!());

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    vec![Hot::of_batch("find orders placed already", PLACED_ALREADY, "orders")]
}

impl Store {
    /// Places the orders of all `placements` in one commit, except those whose key or external id is in use already.
    /// When this returns, they are on disk, and due at their own time or at once. Returns one result for each
    /// placement, in their order.
    ///
    /// Placing the same orders again is harmless, so a caller tries again if it does not know whether a lost connection
    /// cost it the commit or only the answer.
    ///
    /// After an error nothing is placed, unless the server was silent or the connection was lost: then the orders may
    /// be placed all the same, or will be once the server executes what it received.
    pub async fn place(&self, placements: &[Placement]) -> Result<Vec<PlaceOutcome>, StoreError> {
        let mut placed = self.try_place(placements, false).await;
        for _ in 1..RACES_MAX {
            match placed {
                Err(error) if error.kind() == ErrorKind::Duplicate => placed = self.try_place(placements, true).await,
                placed => return placed,
            }
        }
        placed
    }

    /// `again`: whether some of the orders may be on disk already, by an earlier try whose answer was lost.
    async fn try_place(&self, placements: &[Placement], again: bool) -> Result<Vec<PlaceOutcome>, StoreError> {
        if again || placements.iter().any(Placement::needs_lookup) {
            let doing = "place orders";
            return self
                .transaction(doing, async |tx| sort_out(tx, placements, again, self.statement_bytes_max()).await)
                .await;
        }
        self.call("place orders", async |connection| {
            // Not earlier: the first connection of the process finds it out.
            let bytes_max = self.statement_bytes_max();
            let script = insert(Script::begin(), placements.iter()).commit().within(bytes_max)?;
            let created_at = script.run(connection).await?.time()?;
            Ok(placements.iter().map(|_| Ok(Placed::New { created_at })).collect())
        })
        .await
    }
}

/// Places what is new, and finds what was placed before.
async fn sort_out(
    connection: &mut MySqlConnection,
    placements: &[Placement],
    again: bool,
    bytes_max: usize,
) -> Result<Vec<PlaceOutcome>, sqlx::Error> {
    let own = if again { placed_already(connection, placements).await? } else { HashMap::new() };
    let mut known_keys = keys::known(connection, placements).await?;
    let mut known_ids = external_ids::known(connection, placements).await?;
    let mut results = Vec::with_capacity(placements.len());
    for placement in placements {
        let first = first_id(placement);
        let before = match own.get(&first) {
            Some(&created_at) => Some(PlaceResult::Known(Ok(Placed::New { created_at }))),
            None => placement.key.as_ref().and_then(|key_use| known_keys.find(key_use, first)),
        };
        let result = before
            .or_else(|| known_ids.add(placement).err().map(|conflict| PlaceResult::Known(Err(conflict))))
            .unwrap_or(PlaceResult::New);
        if let (PlaceResult::New, Some(key_use)) = (&result, &placement.key) {
            known_keys.add(key_use, placement);
        }
        results.push(result);
    }
    let is_new = |result: &PlaceResult| matches!(result, PlaceResult::New);
    let new = || placements.iter().zip(&results).filter(|(_, result)| is_new(result)).map(|(placement, _)| placement);
    let created_at = if results.iter().any(is_new) {
        let script = insert(Script::default(), new()).within(bytes_max)?;
        keys::insert(connection, new()).await?;
        external_ids::insert(connection, new()).await?;
        Some(script.run(connection).await?.time()?)
    } else {
        None
    };
    let placed = |result| match result {
        PlaceResult::Known(outcome) => Some(outcome),
        PlaceResult::New => created_at.map(|created_at| Ok(Placed::New { created_at })),
        PlaceResult::SameBatch(order_ids) => created_at.map(|created_at| Ok(Placed::Before { order_ids, created_at })),
    };
    Ok(results.into_iter().filter_map(placed).collect())
}

/// Inserts the orders, reads the time of that, and counts them.
fn insert<'a>(script: Script, placements: impl Iterator<Item = &'a Placement> + Clone) -> Script {
    let orders = placements.clone().flat_map(|placement| &placement.orders);
    let first = Id(placements.clone().next().map_or(OrderId::FIRST, first_id).uuid());
    let count = placements.map(|placement| placement.orders.count()).sum();
    script
        .then(place(orders, count))
        // One statement places all its orders at the same moment, so one of them tells it.
        .then(format_args!("select created_at from orders where order_id = {first}"))
        .then(CountDelta::placed(count as u64).statement())
}

fn first_id(placement: &Placement) -> OrderId {
    placement.orders.first().order_id
}

/// Which of the placements' first orders are on disk, and since when.
async fn placed_already(
    connection: &mut MySqlConnection,
    placements: &[Placement],
) -> Result<HashMap<OrderId, DateTime<Utc>>, sqlx::Error> {
    let ids = json_of_ids(placements.iter().map(first_id));
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(PLACED_ALREADY).bind(ids).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(order_id, created_at)| (order_id.into(), created_at)).collect())
}

/// Places the orders, each due at its own time or at once. A batch of orders that have only what every order must have,
/// as most do, leaves the other columns to their defaults.
fn place<'a>(orders: impl Iterator<Item = &'a NewOrder> + Clone, count: usize) -> String {
    let is_plain = orders.clone().all(NewOrder::is_plain);
    let mut sql = String::with_capacity(256 + count * 80);
    sql.push_str("insert into orders (order_id, user_id, item_ids, total_amount");
    if !is_plain {
        sql.push_str(", currency, external_id, metadata, process_after, available_at");
    }
    sql.push_str(") values");
    for (index, order) in orders.enumerate() {
        let separator = if index == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write_row(&mut sql, separator, order, is_plain);
    }
    sql
}

fn write_row(sql: &mut String, separator: &str, order: &NewOrder, is_plain: bool) -> fmt::Result {
    use fmt::Write;

    let NewOrder { order_id, user_id, item_ids, total_amount, currency, external_id, metadata, process_after } = order;
    let (order_id, user_id) = (Id(order_id.uuid()), user_id.get());
    write!(sql, "{separator}\n({order_id},{user_id},'{item_ids}',{total_amount}")?;
    if !is_plain {
        let currency = Text(currency.as_ref().map(Currency::code));
        let external_id = Text(external_id.as_ref().map(ExternalId::as_str));
        let metadata = Some(metadata.pairs()).filter(|pairs| !pairs.is_empty()).map(|pairs| json!(pairs).to_string());
        write!(sql, ",{currency},{external_id},{}", Text(metadata.as_deref()))?;
        match process_after.map(Time) {
            Some(at) => write!(sql, ",{at},greatest({at}, now(6))")?,
            None => sql.push_str(",null,now(6)"),
        }
    }
    sql.push(')');
    Ok(())
}

/// The most bytes that an order takes on its way to the database: 256, 21 for each item, and two for each byte of the
/// external id and the metadata ([`Metadata::BYTES_MAX`](crate::domain::Metadata::BYTES_MAX)), some 55 kB in all.
#[must_use]
pub fn weight_bytes(order: &NewOrder) -> usize {
    const FIXED: usize = 256;
    const ITEM: usize = 21;
    // Callers' texts are sent in hexadecimal.
    const DIGITS: usize = 2;
    let external_id = order.external_id.as_ref().map_or(0, |external_id| external_id.as_str().len());
    FIXED + ITEM * order.item_ids.as_slice().len() + DIGITS * (external_id + order.metadata.json_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amount, ItemIds, Metadata, UserId};

    fn plain() -> NewOrder {
        NewOrder {
            order_id: OrderId::FIRST,
            user_id: UserId::new(1).unwrap(),
            item_ids: ItemIds::new(vec![4, 6]).unwrap(),
            total_amount: Amount::MAX,
            currency: None,
            external_id: None,
            metadata: Metadata::default(),
            process_after: None,
        }
    }

    #[test]
    fn plain_orders_name_only_what_they_have() {
        let id = Id(OrderId::FIRST.uuid());
        let row = format!("\n({id},1,'[4, 6]',99999999999999.9999)");

        let sql = place([plain(), plain()].iter(), 2);

        assert_eq!(sql, format!("insert into orders (order_id, user_id, item_ids, total_amount) values{row},{row}"));
    }

    #[test]
    fn what_callers_wrote_travels_in_hexadecimal() {
        let mut metadata = Metadata::default();
        metadata.insert("a \"key\"".to_owned(), "\\ \u{1f600}'".to_owned()).unwrap();
        let labelled = NewOrder {
            currency: Some("EUR".parse().unwrap()),
            external_id: Some(ExternalId::new("'7'".to_owned()).unwrap()),
            metadata,
            process_after: DateTime::from_timestamp(1, 5_000),
            ..plain()
        };
        let (external_id, metadata) = (hex::encode("'7'"), hex::encode(r#"{"a \"key\"":"\\ 😀'"}"#));
        let at = "'1970-01-01 00:00:01.000005'";

        let sql = place([labelled, plain()].iter(), 2);

        let (_, rows) = sql.split_once("values\n").unwrap();
        let (first, second) = rows.split_once(",\n").unwrap();
        assert!(first.ends_with(&format!(
            ",_utf8mb4 x'455552',_utf8mb4 x'{external_id}',_utf8mb4 x'{metadata}',{at},greatest({at}, now(6)))"
        )));
        assert!(second.ends_with(",99999999999999.9999,null,null,null,null,now(6))"));
    }

    /// The orders of a commit must fit into one packet, however much the escapes of JSON lengthen them.
    #[test]
    fn an_order_weighs_no_less_than_what_travels() {
        for text in ["a", "ä", "\u{1f600}", "\"", "\\", "\n", "\u{1}", "\u{7f}", "\u{85}"] {
            let mut metadata = Metadata::default();
            for pair in 0..50 {
                // As many as fit.
                let _ = metadata.insert(format!("{}{pair}", text.repeat(38)), text.repeat(500));
            }
            let order = NewOrder {
                user_id: UserId::new(i64::MAX).unwrap(),
                item_ids: ItemIds::new(vec![i64::MAX; 1000]).unwrap(),
                currency: Some("EUR".parse().unwrap()),
                external_id: Some(ExternalId::new("\"\\\u{1f600}".repeat(21)).unwrap()),
                metadata,
                process_after: DateTime::from_timestamp(1, 5_000),
                ..plain()
            };

            let travels = place([&order, &order].into_iter(), 2).len() - place([&order].into_iter(), 1).len();

            let weight = weight_bytes(&order);
            assert!((travels..travels + 1_000).contains(&weight), "{text:?}: {weight} for {travels}");
        }
    }
}
