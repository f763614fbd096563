use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Amount, Currency, ExternalId, ItemIds, Metadata, OrderId, OrderStatus, UserId, WorkerId};

/// An order to be placed: valid, with an id, but not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Its id, which it keeps.
    pub order_id: OrderId,
    /// The user who places it.
    pub user_id: UserId,
    /// The ordered items.
    pub item_ids: ItemIds,
    /// The price.
    pub total_amount: Amount,
    /// The currency of the price, if the client named one.
    pub currency: Option<Currency>,
    /// The client's own id of it, which no other order has.
    pub external_id: Option<ExternalId>,
    /// The client's own notes.
    pub metadata: Metadata,
    /// The earliest time at which a worker may claim it; `None` means at once.
    pub process_after: Option<DateTime<Utc>>,
}

impl NewOrder {
    /// Whether it has only the fields that every order must have.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        // Naming every field makes the compiler point here when one is added.
        let Self {
            order_id: _,
            user_id: _,
            item_ids: _,
            total_amount: _,
            currency,
            external_id,
            metadata,
            process_after,
        } = self;
        currency.is_none() && external_id.is_none() && metadata.pairs().is_empty() && process_after.is_none()
    }
}

/// An order as it is stored. All times are the database's, in UTC.
///
/// As JSON it is what its client placed, under the names of `GET /orders/{order_id}`, and so the same in every attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its id.
    pub order_id: OrderId,
    /// The user who placed it.
    pub user_id: UserId,
    /// The ordered items.
    pub item_ids: ItemIds,
    /// The price.
    pub total_amount: Amount,
    /// The currency of the price, if the client named one.
    pub currency: Option<Currency>,
    /// The client's own id of it, which no other order has.
    pub external_id: Option<ExternalId>,
    /// The client's own notes.
    pub metadata: Metadata,
    /// The earliest time at which its client wants it processed.
    pub process_after: Option<DateTime<Utc>>,
    /// Its status.
    #[serde(skip)]
    pub status: OrderStatus,
    /// While PROCESSING, the number of the current attempt; otherwise the number of attempts made.
    #[serde(skip)]
    pub attempt: u16,
    /// How often it was taken back from a dead worker.
    #[serde(skip)]
    pub rescues: u8,
    /// The error of the last failed attempt.
    #[serde(skip)]
    pub last_error: Option<String>,
    /// The worker that claimed it last.
    #[serde(skip)]
    pub worker_id: Option<WorkerId>,
    /// When a worker may claim it; `None` unless it is PENDING.
    #[serde(skip)]
    pub available_at: Option<DateTime<Utc>>,
    /// When it was last claimed.
    #[serde(skip)]
    pub claimed_at: Option<DateTime<Utc>>,
    /// When it was completed.
    #[serde(skip)]
    pub completed_at: Option<DateTime<Utc>>,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_as_json_is_what_its_client_placed_digit_for_digit() {
        let at: DateTime<Utc> = "2030-01-31T08:00:00.25Z".parse().unwrap();
        let mut metadata = Metadata::default();
        metadata.insert("channel".to_owned(), "web".to_owned()).unwrap();
        let order_id = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        let order = Order {
            order_id,
            user_id: UserId::FIRST,
            item_ids: ItemIds::new(vec![4, 6]).unwrap(),
            total_amount: Amount::MAX,
            currency: "EUR".parse().ok(),
            external_id: ExternalId::new("A-1".to_owned()).ok(),
            metadata,
            process_after: None,
            status: OrderStatus::Processing,
            attempt: 3,
            rescues: 1,
            last_error: Some("busy".to_owned()),
            worker_id: Some(WorkerId::fresh()),
            available_at: None,
            claimed_at: Some(at),
            completed_at: None,
            created_at: at,
            updated_at: at,
        };

        let json = serde_json::to_string(&order).unwrap();

        assert_eq!(
            json,
            r#"{"order_id":"0198c0de-0000-7000-8000-000000000001","user_id":1,"item_ids":[4,6],"#.to_owned()
                + r#""total_amount":99999999999999.9999,"currency":"EUR","external_id":"A-1","#
                + r#""metadata":{"channel":"web"},"process_after":null,"created_at":"2030-01-31T08:00:00.250Z"}"#
        );
    }
}
