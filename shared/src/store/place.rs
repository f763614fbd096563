use super::{Store, StoreError};
use crate::domain::NewOrder;

/// One statement for every size of batch: the rows travel as one JSON document, so the server prepares it once.
pub(super) const PLACE: &str = r"
    insert into orders (order_id, user_id, item_ids, total_amount, process_after, available_at)
    select
        unhex(placed.order_id),
        placed.user_id,
        placed.item_ids,
        placed.total_amount,
        placed.process_after,
        greatest(coalesce(placed.process_after, now(6)), now(6))
    from json_table(?, '$[*]' columns (
        order_id char(32) path '$[0]' error on error,
        user_id bigint path '$[1]' error on error,
        item_ids longtext path '$[2]' error on error,
        total_amount decimal(18, 4) path '$[3]' error on error,
        process_after datetime(6) path '$[4]' error on error
    )) as placed
";

impl Store {
    /// Places all of `orders`, in one commit. They are on disk when this returns, and due at their own time or at once.
    ///
    /// Placing the same orders again is harmless, so a caller that does not know whether a lost connection cut the
    /// commit or only its answer just tries again.
    ///
    /// # Errors
    ///
    /// When the database is away or refuses; then none of the orders is placed, except where the connection was lost
    /// in the middle of the commit.
    pub async fn place(&self, orders: &[NewOrder]) -> Result<(), StoreError> {
        let placed = self.call("place orders", async {
            let mut line = self.line().await?;
            sqlx::query(PLACE).bind(as_json(orders)).execute(&mut *line).await?;
            line.done();
            Ok(())
        });
        match placed.await {
            // Ids are never made twice: this batch was committed by an earlier try.
            Err(error) if error.is_duplicate() => Ok(()),
            other => other,
        }
    }
}

/// The orders as an array of arrays. Nothing needs escaping: ids are hexadecimal, all else are numbers.
fn as_json(orders: &[NewOrder]) -> String {
    use std::fmt::Write;

    let mut json = String::with_capacity(orders.len() * 128);
    let mut separator = '[';
    for order in orders {
        let NewOrder { order_id, user_id, item_ids, total_amount, process_after } = order;
        let (order_id, user_id) = (order_id.uuid().simple(), user_id.get());
        let process_after = process_after.map(|at| format!(r#","{}""#, at.naive_utc().format("%F %T%.6f")));
        let process_after = process_after.unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(json, r#"{separator}["{order_id}",{user_id},"{item_ids}","{total_amount}"{process_after}]"#);
        separator = ',';
    }
    json.push_str(if orders.is_empty() { "[]" } else { "]" });
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amount, ItemIds, OrderId, UserId};

    #[test]
    fn orders_travel_as_valid_json() -> Result<(), Box<dyn std::error::Error>> {
        let order = NewOrder {
            order_id: OrderId::new(),
            user_id: UserId::new(1).ok_or("no user")?,
            item_ids: ItemIds::new(vec![4, 6])?,
            total_amount: Amount::MAX,
            process_after: None,
        };
        let row = serde_json::json!([order.order_id.uuid().simple().to_string(), 1, "[4, 6]", "99999999999999.9999"]);

        for count in 0..3 {
            let json: serde_json::Value = serde_json::from_str(&as_json(&vec![order.clone(); count]))?;

            assert_eq!(json, serde_json::Value::from(vec![row.clone(); count]));
        }
        Ok(())
    }
}
