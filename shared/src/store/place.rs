use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Connection, MySqlConnection};
use uuid::Uuid;

use super::counts::Moves;
use super::{Store, StoreError, external_ids, keys};
use crate::domain::{NewOrder, OrderId, Placed, Placement};

/// How often a batch is tried in which somebody else wrote the same key or external id at the same moment. Each try ends one
/// such race, so that more are needed only while others keep on winning them.
const RACES_MAX: usize = 5;

/// Each order of a list of ids, read by its primary key.
macro_rules! orders_by_id {
    () => {
        r"
        from (
            select unhex(order_id) as order_id
            from json_table(?, '$[*]' columns (order_id char(32) path '$')) as ids
        ) as listed
        straight_join orders force index (primary) on orders.order_id = listed.order_id
        "
    };
}
pub(super) use orders_by_id;

/// One statement for every size of batch: the rows travel as one JSON document, so the server prepares it once.
/// What callers wrote is said to be utf8mb4: otherwise MariaDB takes the database's own character set.
pub(super) const PLACE: &str = r"
    insert into orders (
        order_id, user_id, item_ids, total_amount, currency, external_id, metadata, process_after, available_at
    )
    select
        unhex(placed.order_id),
        placed.user_id,
        placed.item_ids,
        placed.total_amount,
        placed.currency,
        placed.external_id,
        placed.metadata,
        placed.process_after,
        greatest(coalesce(placed.process_after, now(6)), now(6))
    from json_table(?, '$[*]' columns (
        order_id char(32) path '$[0]' error on error,
        user_id bigint path '$[1]' error on error,
        item_ids longtext path '$[2]' error on error,
        total_amount decimal(18, 4) path '$[3]' error on error,
        currency char(3) path '$[4]' error on error,
        external_id varchar(64) character set utf8mb4 path '$[5]' error on error,
        metadata longtext character set utf8mb4 path '$[6]' error on error,
        process_after datetime(6) path '$[7]' error on error
    )) as placed
";

/// All orders of a statement are placed at the same moment, so that one of them tells it.
const PLACED_AT: &str = "select created_at from orders where order_id = ?";

pub(super) const PLACED_ALREADY: &str = concat!("select orders.order_id, orders.created_at", orders_by_id!());

impl Store {
    /// Places the orders of all `placements` in one commit, those apart whose key or external id is in use already. They
    /// are on disk when this returns, and due at their own time or at once. One answer for each placement, in their order.
    ///
    /// Placing the same again is harmless, so a caller that does not know whether a lost connection cut the commit or only
    /// its answer just tries again.
    ///
    /// # Errors
    ///
    /// When the database is away or refuses; then nothing is placed, except where the connection was lost in the middle of
    /// the commit.
    pub async fn place(&self, placements: &[Placement]) -> Result<Vec<Placed>, StoreError> {
        let mut placed = self.try_place(placements, false).await;
        for _ in 1..RACES_MAX {
            match placed {
                Err(error) if error.is_duplicate() => placed = self.try_place(placements, true).await,
                placed => return placed,
            }
        }
        placed
    }

    /// `again`: whether some of the orders may be on disk, by an earlier try whose answer was lost.
    async fn try_place(&self, placements: &[Placement], again: bool) -> Result<Vec<Placed>, StoreError> {
        self.call("place orders", async {
            let mut line = self.line().await?;
            let mut transaction = line.begin().await?;
            let placed = if again || placements.iter().any(Placement::looks_back) {
                sort_out(&mut transaction, placements, again).await?
            } else {
                let created_at = insert(&mut transaction, placements.iter()).await?;
                placements.iter().map(|_| Placed::New { created_at }).collect()
            };
            transaction.commit().await?;
            line.done();
            Ok(placed)
        })
        .await
    }
}

/// What becomes of a placement in its batch.
pub(super) enum Outcome {
    /// It is placed by the batch.
    New,
    /// It is an equal request of the batch that places these orders.
    Twin(Vec<OrderId>),
    /// This was clear before.
    Known(Placed),
}

/// Places what is new, and finds what is not.
async fn sort_out(
    connection: &mut MySqlConnection,
    placements: &[Placement],
    again: bool,
) -> Result<Vec<Placed>, sqlx::Error> {
    let own = if again { placed_already(connection, placements).await? } else { HashMap::new() };
    let mut used = keys::used(connection, placements).await?;
    let mut taken = external_ids::taken(connection, placements).await?;
    let mut outcomes = Vec::with_capacity(placements.len());
    for placement in placements {
        let first = first_id(placement);
        let before = match own.get(&first) {
            Some(&created_at) => Some(Outcome::Known(Placed::New { created_at })),
            None => placement.key.as_ref().and_then(|key_use| used.of(key_use, first)),
        };
        let outcome = before.or_else(|| taken.take(placement).map(Outcome::Known)).unwrap_or(Outcome::New);
        if let (Outcome::New, Some(key_use)) = (&outcome, &placement.key) {
            used.add(key_use, placement);
        }
        outcomes.push(outcome);
    }
    let is_new = |outcome: &Outcome| matches!(outcome, Outcome::New);
    let new =
        || placements.iter().zip(&outcomes).filter(|(_, outcome)| is_new(outcome)).map(|(placement, _)| placement);
    let created_at = if outcomes.iter().any(is_new) {
        keys::insert(connection, new()).await?;
        external_ids::insert(connection, new()).await?;
        Some(insert(connection, new()).await?)
    } else {
        None
    };
    let placed = |outcome| match outcome {
        Outcome::Known(placed) => Some(placed),
        Outcome::New => created_at.map(|created_at| Placed::New { created_at }),
        Outcome::Twin(order_ids) => created_at.map(|created_at| Placed::Before { order_ids, created_at }),
    };
    Ok(outcomes.into_iter().filter_map(placed).collect())
}

/// Inserts the orders, counts them, and returns when that was.
async fn insert<'a>(
    connection: &mut MySqlConnection,
    placements: impl Iterator<Item = &'a Placement> + Clone,
) -> Result<DateTime<Utc>, sqlx::Error> {
    let mut orders = placements.flat_map(|placement| &placement.orders);
    let json = as_json(orders.clone());
    let count = sqlx::query(PLACE).bind(json).execute(&mut *connection).await?.rows_affected();
    let first = orders.next().map_or(OrderId::FIRST, |order| order.order_id);
    let created_at = sqlx::query_scalar(PLACED_AT).bind(first.uuid()).fetch_one(&mut *connection).await?;
    Moves::placed(count).count(connection).await?;
    Ok(created_at)
}

fn first_id(placement: &Placement) -> OrderId {
    placement.orders.first().map_or(OrderId::FIRST, |order| order.order_id)
}

/// Those of the placements' first orders that are on disk, and since when.
async fn placed_already(
    connection: &mut MySqlConnection,
    placements: &[Placement],
) -> Result<HashMap<OrderId, DateTime<Utc>>, sqlx::Error> {
    let ids = json_of_ids(placements.iter().map(first_id));
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(PLACED_ALREADY).bind(ids).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(order_id, created_at)| (order_id.into(), created_at)).collect())
}

/// Ids as they travel to the server, for `orders_by_id`.
pub(super) fn json_of_ids(ids: impl Iterator<Item = OrderId>) -> String {
    ids.map(|id| id.uuid().simple().to_string()).collect::<serde_json::Value>().to_string()
}

/// The orders as an array of arrays. Only what callers chose themselves needs escaping.
fn as_json<'a>(orders: impl Iterator<Item = &'a NewOrder>) -> String {
    use std::fmt::Write;

    let mut json = String::with_capacity(orders.size_hint().0 * 128);
    let mut separator = '[';
    for order in orders {
        let NewOrder { order_id, user_id, item_ids, total_amount, currency, external_id, metadata, process_after } =
            order;
        let (order_id, user_id) = (order_id.uuid().simple(), user_id.get());
        // Writing to a String cannot fail.
        let _ = write!(json, r#"{separator}["{order_id}",{user_id},"{item_ids}","{total_amount}""#);
        let labels = currency.is_some() || external_id.is_some() || !metadata.pairs().is_empty();
        if labels || process_after.is_some() {
            let currency = text_or_null(currency.map(|currency| currency.to_string()));
            let external_id = text_or_null(external_id.as_ref().map(|external_id| external_id.as_str().to_owned()));
            let pairs = Some(metadata.pairs()).filter(|pairs| !pairs.is_empty());
            let metadata = text_or_null(pairs.map(|pairs| serde_json::json!(pairs).to_string()));
            let process_after = process_after.map(|at| at.naive_utc().format("%F %T%.6f").to_string());
            let _ = write!(json, ",{currency},{external_id},{metadata},{}", text_or_null(process_after));
        }
        json.push(']');
        separator = ',';
    }
    json.push_str(if json.is_empty() { "[]" } else { "]" });
    json
}

fn text_or_null(text: Option<String>) -> serde_json::Value {
    text.map_or(serde_json::Value::Null, Into::into)
}

/// For micro-benchmarks.
#[cfg(feature = "bench")]
pub mod bench {
    use crate::domain::NewOrder;

    /// The orders as they travel to the server when they are placed.
    #[must_use]
    pub fn statement(orders: &[NewOrder]) -> String {
        super::as_json(orders.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amount, ExternalId, ItemIds, Metadata, UserId};

    #[test]
    fn orders_travel_as_valid_json() -> Result<(), Box<dyn std::error::Error>> {
        let plain = NewOrder {
            order_id: OrderId::new(),
            user_id: UserId::new(1).ok_or("no user")?,
            item_ids: ItemIds::new(vec![4, 6])?,
            total_amount: Amount::MAX,
            currency: None,
            external_id: None,
            metadata: Metadata::default(),
            process_after: None,
        };
        let mut metadata = Metadata::default();
        metadata.insert("a \"key\"".to_owned(), "\\ \u{1f600}".to_owned())?;
        let labelled = NewOrder {
            currency: Some("EUR".parse()?),
            external_id: Some(ExternalId::new("\"7\"".to_owned())?),
            metadata,
            process_after: DateTime::from_timestamp(1, 5_000),
            ..plain.clone()
        };
        let id = plain.order_id.uuid().simple().to_string();
        let row = serde_json::json!([id, 1, "[4, 6]", "99999999999999.9999"]);
        let text = r#"{"a \"key\"":"\\ 😀"}"#;
        let labelled_row = serde_json::json!([
            id,
            1,
            "[4, 6]",
            "99999999999999.9999",
            "EUR",
            "\"7\"",
            text,
            "1970-01-01 00:00:01.000005"
        ]);

        for (orders, rows) in
            [(vec![], vec![]), (vec![&plain], vec![&row]), (vec![&plain, &labelled], vec![&row, &labelled_row])]
        {
            let json: serde_json::Value = serde_json::from_str(&as_json(orders.into_iter()))?;

            assert_eq!(json, serde_json::json!(rows));
        }
        Ok(())
    }
}
