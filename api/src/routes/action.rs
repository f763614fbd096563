use std::fmt::Display;

use orders_shared::domain::OrderId;
use orders_shared::store::{Change, StoreError};
use poem::web::RemoteAddr;
use tracing::field::display;

/// Something that a person has asked for and that changes orders or the queue. Each leaves one line in the log, whatever came
/// of it; the request's span adds its id.
#[derive(Clone, Debug)]
pub(super) struct Action {
    /// In a word: `cancel`.
    name: &'static str,
    /// The order that it is about, unless it is about the queue.
    order_id: Option<OrderId>,
    client: RemoteAddr,
}

impl Action {
    pub(super) fn on_order(name: &'static str, order_id: OrderId, client: &RemoteAddr) -> Self {
        Self { name, order_id: Some(order_id), client: client.clone() }
    }

    pub(super) fn on_queue(name: &'static str, client: &RemoteAddr) -> Self {
        Self { name, order_id: None, client: client.clone() }
    }

    /// Tells what became of an order.
    pub(super) fn log_wish(&self, wish: &Result<Change, StoreError>) {
        match wish {
            Ok(Change::Made(order)) => self.log(format_args!("the order is {}", order.status)),
            Ok(Change::Conflict(order)) => self.log(format_args!("refused: the order is {}", order.status)),
            Ok(Change::Poison(_)) => self.log("refused: the order is poison"),
            Ok(Change::NotFound) => self.log("refused: there is no such order"),
            Err(error) => self.log(format_args!("failed: {error}")),
        }
    }

    /// Tells what became of the queue.
    pub(super) fn log_queue<T>(&self, done: &Result<T, StoreError>) {
        match done {
            Ok(_) => self.log("done"),
            Err(error) => self.log(format_args!("failed: {error}")),
        }
    }

    fn log(&self, outcome: impl Display) {
        let Self { name, order_id, client } = self;
        let client = client.as_socket_addr().map(display);
        tracing::info!(action = name, order_id = order_id.map(display), outcome = %outcome, client, "a person acted");
    }
}
