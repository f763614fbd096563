//! How a page of a list is read: decides, and reads nothing.

use crate::domain::{OrderFilter, OrderStatus, PageKey, UserId};

/// How a page is read that shows the orders of a filter, behind a cursor.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct ListPlan {
    pub(in crate::store) span: Span,
    pub(in crate::store) way: Way,
    /// The way instead where more than a few orders have this status.
    pub(in crate::store) if_many: Option<(OrderStatus, Way)>,
}

/// The part of a list that a page is read from: `from` is exclusive, `to` inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Span {
    pub(in crate::store) from: PageKey,
    pub(in crate::store) to: PageKey,
}

/// The index that leads to the orders of a page, and what is asked of each of them besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Way {
    /// `orders_by_time`: all orders, or those of them in one status.
    Newest { status: Option<OrderStatus> },
    /// `orders_by_user`: a user's orders, or those of them in one status.
    OfUser { status: Option<OrderStatus>, user_id: UserId },
    /// `orders_by_status`: the orders in one status in which nothing more happens by itself, or those of them that are
    /// a user's. It lists claimed orders beside the COMPLETED ones; they are passed over.
    InStatus { status: OrderStatus, user_id: Option<UserId> },
    /// `claims`: the claimed orders, or those of them that are a user's. No index leads to them, so that none changes
    /// when they are completed: all orders of all `claims` are looked at.
    InWork { user_id: Option<UserId> },
    /// `orders_by_status`, where few orders wait: it has them in the order of claiming, so that all are sorted, by what
    /// stands in the index itself.
    Waiting,
    /// `orders_by_status`, where few orders wait: all of them are looked at for those of a user.
    UsersWaiting { user_id: UserId },
}

impl ListPlan {
    /// The plan for the orders that `filter` shows, but for its external id, behind `after`.
    pub(in crate::store) fn of(filter: &OrderFilter, after: Option<PageKey>) -> Self {
        let OrderFilter { status, user_id, .. } = *filter;
        let walk = user_id.map_or(Way::Newest { status }, |user_id| Way::OfUser { status, user_id });
        let (way, is_for_few) = match (status, user_id) {
            (None, _) => (walk, false),
            (Some(OrderStatus::Processing), _) => (Way::InWork { user_id }, false),
            (Some(OrderStatus::Pending), None) => (Way::Waiting, true),
            (Some(OrderStatus::Pending), Some(user_id)) => (Way::UsersWaiting { user_id }, true),
            (Some(status), _) => (Way::InStatus { status, user_id }, user_id.is_some()),
        };
        let (from, to) = filter.bounds(after);
        Self { span: Span { from, to }, way, if_many: status.filter(|_| is_for_few).map(|status| (status, walk)) }
    }
}

impl Way {
    /// Whether it leads past orders that the page does not show, perhaps many: how far it goes must be bounded.
    pub(in crate::store) fn is_walk(self) -> bool {
        matches!(self, Self::Newest { status: Some(_) } | Self::OfUser { status: Some(_), .. })
    }
}

impl Span {
    /// From the newest order of any list to the oldest.
    pub(in crate::store) const WHOLE: Self = Self { from: PageKey::START, to: PageKey::END };
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::OrderStatus::{Canceled, Completed, Failed, Pending, Processing};
    use super::*;
    use crate::domain::OrderId;

    #[test]
    fn each_filter_is_read_by_the_index_that_knows_most_of_it() {
        let user = UserId::new(7);
        let of_user = |status| Way::OfUser { status, user_id: UserId::new(7).unwrap() };
        let newest = |status| Way::Newest { status };
        let in_status = |status, user_id| Way::InStatus { status, user_id };
        for (status, user_id, way, if_many) in [
            (None, None, newest(None), None),
            (None, user, of_user(None), None),
            (Some(Pending), None, Way::Waiting, Some(newest(Some(Pending)))),
            (Some(Pending), user, Way::UsersWaiting { user_id: user.unwrap() }, Some(of_user(Some(Pending)))),
            (Some(Processing), None, Way::InWork { user_id: None }, None),
            (Some(Processing), user, Way::InWork { user_id: user }, None),
            (Some(Completed), None, in_status(Completed, None), None),
            (Some(Completed), user, in_status(Completed, user), Some(of_user(Some(Completed)))),
            (Some(Failed), None, in_status(Failed, None), None),
            (Some(Failed), user, in_status(Failed, user), Some(of_user(Some(Failed)))),
            (Some(Canceled), None, in_status(Canceled, None), None),
            (Some(Canceled), user, in_status(Canceled, user), Some(of_user(Some(Canceled)))),
        ] {
            let plan = ListPlan::of(&OrderFilter { status, user_id, ..OrderFilter::default() }, None);

            let if_many = if_many.map(|way| (status.unwrap(), way));
            assert_eq!(plan, ListPlan { span: Span::WHOLE, way, if_many }, "{status:?} {user_id:?}");
            // A walk is bounded by what it looks at, every other way by what it shows or by how few there are.
            assert!(!plan.way.is_walk() && plan.if_many.is_none_or(|(_, way)| way.is_walk()), "{status:?} {user_id:?}");
        }
    }

    #[test]
    fn a_page_lies_behind_its_cursor_and_between_its_times_whatever_its_way() {
        let second = |second| DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::seconds(second);
        let after = PageKey { created_at: second(15), order_id: OrderId::new() };
        for status in [None].into_iter().chain(OrderStatus::ALL.map(Some)) {
            let created_after = Some(second(10));
            let filter = OrderFilter { status, created_after, ..OrderFilter::default() };

            let Span { from, to } = ListPlan::of(&filter, Some(after)).span;

            assert_eq!((from, to.created_at), (after, second(10)), "{status:?}");
        }
    }
}
