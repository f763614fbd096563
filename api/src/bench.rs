//! The hot, pure parts of a request, for micro-benchmarks.

use orders_shared::domain::{self, NewOrder, Order, OrderId};

use crate::dto::{BatchBody, CreateOrder, FullOrder, ListedOrder, OrderCreated};
use crate::payload::{Fields, Shape};

/// The order that a body of `POST /order/create-order` means; `None` where it has a fault.
#[must_use]
pub fn read_order(body: &[u8]) -> Option<NewOrder> {
    read::<CreateOrder>(body)
}

/// The orders that a body of `POST /orders/batch` means; `None` where it has a fault.
#[must_use]
pub fn read_batch(body: &[u8]) -> Option<Vec<NewOrder>> {
    read::<BatchBody>(body)
}

fn read<S: Shape>(body: &[u8]) -> Option<S::Meaning> {
    let mut fields = Fields::parse(body).ok()?;
    let meaning = S::read(&mut fields)?;
    fields.finish().is_empty().then_some(meaning)
}

/// The answer of `POST /order/create-order`.
///
/// # Errors
///
/// As serde's.
pub fn write_created(order_id: OrderId) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&OrderCreated::new(order_id))
}

/// An order as `GET /orders/{order_id}` answers it.
///
/// # Errors
///
/// As serde's.
pub fn write_order(order: Order) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&FullOrder::from(order))
}

/// A page of `GET /order/status/{status_name}`.
///
/// # Errors
///
/// As serde's.
pub fn write_list(orders: Vec<Order>) -> serde_json::Result<Vec<u8>> {
    let orders: Vec<_> = orders.into_iter().map(domain::ListedOrder::from).map(ListedOrder::from).collect();
    serde_json::to_vec(&orders)
}
