//! The statements that read a page of orders, and their values.

use super::list_plan::{Span, Way};
use super::row::{listed_columns, order_columns};
use crate::domain::{OrderStatus, UserId};
use crate::store::hot::{Hot, LIMIT};
use crate::store::sql::{Value, never, status};

/// A page of the index `$index`, read backwards from one place, exclusive, to another, inclusive.
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

macro_rules! waiting {
    () => {
        concat!("listed_as = ", status!(Pending), " and ")
    };
}

/// The statement of a way, for a view of orders.
macro_rules! statement {
    ($way:expr, $columns:expr) => {
        match $way {
            Way::Newest { .. } => page!($columns, "orders_by_time", "(? is null or status = ?) and ", "limit ?"),
            Way::OfUser { .. } => {
                page!($columns, "orders_by_user", "(? is null or status = ?) and user_id = ? and ", "limit ?")
            }
            Way::InStatus { .. } => page!(
                $columns,
                "orders_by_status",
                concat!(
                    "(? is null or user_id = ?) and status = ? and listed_as = ? and available_at = ",
                    never!(),
                    " and "
                ),
                "limit ?"
            ),
            Way::InWork { .. } => concat!(
                "select ",
                $columns,
                r"
                from (
                    select claims.claim_token as listed_by, unhex(ids.order_id) as listed_id
                    from claims
                    join json_table(claims.order_ids, '$[*]' columns (order_id char(32) path '$')) as ids
                ) as listed
                straight_join orders force index (primary) on orders.order_id = listed.listed_id
                where claim_token = listed_by and status = ",
                status!(Processing),
                r"
                    and (? is null or user_id = ?)
                    and (created_at < ? or created_at = ? and order_id < ?)
                    and (created_at > ? or created_at = ? and order_id >= ?)
                order by created_at desc, order_id desc
                limit ?
                "
            ),
            Way::Waiting => concat!(
                "select ",
                $columns,
                " from (",
                page!("order_id as waiting_id", "orders_by_status", waiting!(), "limit ?"),
                r"
                ) as waiting
                straight_join orders force index (primary) on orders.order_id = waiting.waiting_id
                order by created_at desc, order_id desc
                "
            ),
            Way::UsersWaiting { .. } => {
                page!($columns, "orders_by_status", concat!("user_id = ? and ", waiting!()), "limit ?")
            }
        }
    };
}

/// For whole orders.
pub(super) fn full(way: Way) -> &'static str {
    statement!(way, order_columns!())
}

/// For the fields that a short list shows, which leave out the metadata above all.
pub(super) fn listed(way: Way) -> &'static str {
    statement!(way, listed_columns!())
}

const END_OF_WALK: &str = page!("created_at, order_id", "orders_by_time", "", "limit 1 offset ?");
const END_OF_USERS_WALK: &str = page!("created_at, order_id", "orders_by_user", "user_id = ? and ", "limit 1 offset ?");

pub(super) const COUNT_UP_TO: &str = r"
    select count(*)
    from (select 1 from orders force index (orders_by_status) where listed_as = ? limit ?) as counted
";

/// The values of a way's statement.
pub(super) fn values(way: Way, span: Span, limit: u32) -> Vec<Value> {
    let number = |user_id: UserId| Value::Number(user_id.get());
    let user = |user_id: Option<UserId>| user_id.map_or(Value::Null, number);
    let name = |status: Option<OrderStatus>| status.map_or(Value::Null, |status| Value::Text(status.name()));
    let values = match way {
        Way::Newest { status } => vec![name(status), name(status)],
        Way::OfUser { status, user_id } => vec![name(status), name(status), number(user_id)],
        Way::InStatus { status, user_id } => vec![user(user_id), user(user_id), name(Some(status)), name(Some(status))],
        Way::InWork { user_id } => vec![user(user_id), user(user_id)],
        Way::Waiting => vec![],
        Way::UsersWaiting { user_id } => vec![number(user_id)],
    };
    with_span(values, span, limit)
}

/// The statement that finds the order of a walk behind so many others, and its values.
pub(super) fn end_of_walk(way: Way, span: Span, offset: u32) -> (&'static str, Vec<Value>) {
    match way {
        Way::OfUser { user_id, .. } => (END_OF_USERS_WALK, with_span(vec![Value::Number(user_id.get())], span, offset)),
        _ => (END_OF_WALK, with_span(vec![], span, offset)),
    }
}

fn with_span(mut values: Vec<Value>, Span { from, to }: Span, last: u32) -> Vec<Value> {
    for key in [from, to] {
        let at = key.created_at.naive_utc();
        values.extend([Value::Time(at), Value::Time(at), Value::Id(key.order_id.uuid())]);
    }
    values.push(Value::Number(last.into()));
    values
}

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    let completed = OrderStatus::Completed;
    let in_status = Way::InStatus { status: completed, user_id: None };
    let (all, of_user) = (Way::Newest { status: None }, Way::OfUser { status: None, user_id: UserId::FIRST });
    let page = |name, way, key| Hot::listing(name, full(way), values(way, Span::WHOLE, LIMIT), key);
    let walk = |name, way, key| {
        let (sql, values) = end_of_walk(way, Span::WHOLE, LIMIT);
        Hot::listing(name, sql, values, key)
    };
    let few = vec![Value::Text(completed.name()), Value::Number(LIMIT.into())];
    vec![
        page("list a status", in_status, "orders_by_status"),
        page("list all", all, "orders_by_time"),
        page("list a user's", of_user, "orders_by_user"),
        Hot::listing("count a few", COUNT_UP_TO, few, "orders_by_status"),
        walk("end a walk", all, "orders_by_time"),
        walk("end a walk of a user's", of_user, "orders_by_user"),
    ]
}
