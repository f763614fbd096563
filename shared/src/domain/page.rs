use chrono::{DateTime, Utc};

use super::{Amount, ExternalId, ItemIds, Order, OrderId, OrderStatus, UserId};

/// Which orders a list shows: those that match everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OrderFilter {
    /// Where they stand.
    pub status: Option<OrderStatus>,
    /// Who placed them.
    pub user_id: Option<UserId>,
    /// The one with this external id.
    pub external_id: Option<ExternalId>,
    /// Placed later than this.
    pub created_after: Option<DateTime<Utc>>,
    /// Placed earlier than this.
    pub created_before: Option<DateTime<Utc>>,
}

/// One page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T = Order> {
    /// The orders of this page. They may be fewer than asked for, or none, where a next page follows nevertheless.
    pub orders: Vec<T>,
    /// Where the next page goes on; `None` on the last one.
    pub next: Option<PageKey>,
}

/// What a short list shows of an order. Its other fields are not even read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedOrder {
    /// Its identity.
    pub order_id: OrderId,
    /// Who placed it.
    pub user_id: UserId,
    /// What was ordered.
    pub item_ids: ItemIds,
    /// What it costs.
    pub total_amount: Amount,
    /// Where it stands.
    pub status: OrderStatus,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    pub updated_at: DateTime<Utc>,
}

impl From<Order> for ListedOrder {
    fn from(order: Order) -> Self {
        let Order { order_id, user_id, item_ids, total_amount, status, created_at, updated_at, .. } = order;
        Self { order_id, user_id, item_ids, total_amount, status, created_at, updated_at }
    }
}

/// A place in a list: right behind this order.
///
/// What is placed meanwhile neither repeats nor hides an order; one that changes its status leaves a list by status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageKey {
    /// When the order was placed.
    pub created_at: DateTime<Utc>,
    /// The order.
    pub order_id: OrderId,
}

impl PageKey {
    /// In front of the newest order of any list; the latest moment is MySQL's.
    pub(crate) const START: Self = Self {
        created_at: match DateTime::from_timestamp(253_402_300_799, 999_999_000) {
            Some(latest) => latest,
            None => DateTime::<Utc>::MAX_UTC,
        },
        order_id: OrderId::LAST,
    };

    /// Behind the oldest order of any list.
    pub(crate) const END: Self = Self { created_at: DateTime::UNIX_EPOCH, order_id: OrderId::FIRST };
}

impl OrderFilter {
    /// The places between which the orders of a page lie, both exclusive, when the page goes on behind `after`.
    pub(crate) fn bounds(&self, after: Option<PageKey>) -> (PageKey, PageKey) {
        let earlier = self.created_before.map(|created_at| PageKey { created_at, order_id: OrderId::FIRST });
        let later = self.created_after.map(|created_at| PageKey { created_at, order_id: OrderId::LAST });
        let from = [after, earlier].into_iter().flatten().min().unwrap_or(PageKey::START);
        (from, later.unwrap_or(PageKey::END))
    }

    /// Whether the list shows an order.
    pub(crate) fn shows(&self, order: &Order) -> bool {
        self.status.is_none_or(|status| status == order.status)
            && self.user_id.is_none_or(|user_id| user_id == order.user_id)
            && self.external_id.as_ref().is_none_or(|id| Some(id) == order.external_id.as_ref())
            && self.created_after.is_none_or(|after| order.created_at > after)
            && self.created_before.is_none_or(|before| order.created_at < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(second)
    }

    #[test]
    fn a_page_lies_between_its_cursor_and_its_times() {
        let filter =
            OrderFilter { created_after: Some(second(10)), created_before: Some(second(20)), ..OrderFilter::default() };
        let at = |second_, order_id| PageKey { created_at: second(second_), order_id };
        let cursor = at(15, OrderId::new());

        assert_eq!(filter.bounds(None), (at(20, OrderId::FIRST), at(10, OrderId::LAST)));
        assert_eq!(filter.bounds(Some(cursor)).0, cursor);
        assert_eq!(filter.bounds(Some(at(25, OrderId::new()))).0, at(20, OrderId::FIRST));
        assert_eq!(OrderFilter::default().bounds(None), (PageKey::START, PageKey::END));
    }
}
