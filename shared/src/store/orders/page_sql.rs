//! The statements that read a page of orders.

use super::row::{listed_columns, order_columns};
use crate::store::sql::never;

/// A page of the index `$index`, read backwards from one place to another: the first is exclusive, the second inclusive.
macro_rules! page {
    ($columns:expr, $index:literal, $conditions:expr, $limit:literal) => {
        concat!(
            "select ",
            $columns,
            " from orders force index (",
            $index,
            ") where ",
            $conditions,
            r"
            (created_at < ? or created_at = ? and order_id < ?)
            and (created_at > ? or created_at = ? and order_id >= ?)
            order by created_at desc, order_id desc
            ",
            $limit
        )
    };
}

/// The statements that read a page, for one view of orders.
pub(in crate::store) struct Queries {
    /// All orders, or those of them in one status.
    pub(in crate::store) newest: &'static str,
    /// A user's orders, or those of them in one status.
    pub(in crate::store) of_user: &'static str,
    /// The orders with which nothing more will happen by itself, in one such status, or those of them that are a user's. Those
    /// that are claimed are listed beside the COMPLETED ones, and passed over.
    pub(in crate::store) in_status: &'static str,
    /// The orders that are claimed, or those of them that are a user's. No index leads to them, so that none changes when they are
    /// completed: all orders of all `claims` are looked at.
    pub(in crate::store) in_work: &'static str,
    /// The orders that wait, for a few of them only: their index has them in the order of claiming, so that all are sorted, by
    /// what stands in the index itself.
    pub(in crate::store) waiting: &'static str,
    /// The orders of a user that wait, where few orders wait at all: all of those are looked at.
    pub(in crate::store) users_waiting: &'static str,
}

macro_rules! queries {
    ($columns:expr) => {
        Queries {
            newest: page!($columns, "orders_by_time", "(? is null or status = ?) and ", "limit ?"),
            of_user: page!($columns, "orders_by_user", "(? is null or status = ?) and user_id = ? and ", "limit ?"),
            in_status: page!(
                $columns,
                "orders_by_status",
                concat!(
                    "(? is null or user_id = ?) and status = ? and listed_as = ? and available_at = ",
                    never!(),
                    " and "
                ),
                "limit ?"
            ),
            in_work: concat!(
                "select ",
                $columns,
                r"
                from (
                    select claims.claim_token as listed_by, unhex(ids.order_id) as listed_id
                    from claims
                    join json_table(claims.order_ids, '$[*]' columns (order_id char(32) path '$')) as ids
                ) as listed
                straight_join orders force index (primary) on orders.order_id = listed.listed_id
                where status = 'PROCESSING' and claim_token = listed_by
                    and (? is null or user_id = ?)
                    and (created_at < ? or created_at = ? and order_id < ?)
                    and (created_at > ? or created_at = ? and order_id >= ?)
                order by created_at desc, order_id desc
                limit ?
                "
            ),
            waiting: concat!(
                "select ",
                $columns,
                " from (",
                page!("order_id as waiting_id", "orders_by_status", "listed_as = 'PENDING' and ", "limit ?"),
                r"
                ) as waiting
                straight_join orders force index (primary) on orders.order_id = waiting.waiting_id
                order by created_at desc, order_id desc
                "
            ),
            users_waiting: page!($columns, "orders_by_status", "user_id = ? and listed_as = 'PENDING' and ", "limit ?"),
        }
    };
}

/// Orders whole.
pub(in crate::store) const FULL: Queries = queries!(order_columns!());

/// Orders without what a short list does not show, their metadata above all.
pub(in crate::store) const LISTED: Queries = queries!(listed_columns!());

/// Where a walk of so many orders ends.
pub(in crate::store) const END_OF_WALK: &str = page!("created_at, order_id", "orders_by_time", "", "limit 1 offset ?");
pub(in crate::store) const END_OF_USERS_WALK: &str =
    page!("created_at, order_id", "orders_by_user", "user_id = ? and ", "limit 1 offset ?");
