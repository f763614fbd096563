//! A load of orders that goes on whatever fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// Together 100 orders a second, while the APIs answer.
const CLIENTS: usize = 10;
const BETWEEN_ORDERS: Duration = Duration::from_millis(100);

/// Longer than an API takes to say that its database is away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// One order in so many is canceled as soon as it is accepted, if no worker is faster.
const CANCELED_ONE_IN: usize = 20;

/// Where the APIs are; they move when they are started anew.
#[derive(Clone, Default)]
pub(crate) struct Addresses(Arc<Mutex<Vec<String>>>);

/// Clients that place orders until they are stopped.
pub(crate) struct Clients {
    tasks: JoinSet<Orders>,
    stop: watch::Sender<bool>,
    unanswered: usize,
}

/// What was asked for.
#[derive(Default)]
pub(crate) struct Orders {
    /// Answered with 201.
    pub(crate) accepted: Vec<Uuid>,
    /// Not answered, or with a failure of the server, after which the order may or may not be there.
    pub(crate) unanswered: usize,
    /// Every order that was sent, and its id if it was accepted.
    pub(crate) asked_for: Vec<(SentOrder, Option<Uuid>)>,
}

/// An order unlike any other, so that its row shows whether it was stored as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SentOrder {
    pub(crate) user_id: u32,
    /// Counts the orders of one user.
    pub(crate) number: u32,
}

impl SentOrder {
    /// Up to seven items, of which the first is the number.
    pub(crate) fn item_ids(self) -> Vec<u32> {
        (0..=self.number % 7).map(|item| self.number + item * 1_000).collect()
    }

    /// A fraction that needs no rounding.
    pub(crate) fn total_amount(self) -> f64 {
        f64::from(self.number) + 0.25
    }

    fn as_json(self) -> Value {
        json!({"user_id": self.user_id, "item_ids": self.item_ids(), "total_amount": self.total_amount()})
    }
}

impl Addresses {
    /// The API `number` is at this URL from now on.
    pub(crate) fn set(&self, number: usize, url: String) {
        let mut urls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if number < urls.len() {
            urls[number] = url;
        } else {
            urls.push(url);
        }
    }

    fn get(&self, number: usize) -> String {
        let urls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        urls[number % urls.len()].clone()
    }
}

impl Clients {
    pub(crate) fn start(addresses: &Addresses) -> Self {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            tasks.spawn(place_orders(number, addresses.clone(), stop.subscribe()));
        }
        Self { tasks, stop, unanswered: 0 }
    }

    /// Counts further orders that may or may not be there.
    pub(crate) fn and_unanswered(self, orders: usize) -> Self {
        Self { unanswered: self.unanswered + orders, ..self }
    }

    /// Lets each client hear its last answer.
    pub(crate) async fn stop(self) -> Orders {
        self.stop.send_replace(true);
        let mut sum = Orders { unanswered: self.unanswered, ..Orders::default() };
        for orders in self.tasks.join_all().await {
            sum.accepted.extend(orders.accepted);
            sum.unanswered += orders.unanswered;
            sum.asked_for.extend(orders.asked_for);
        }
        sum
    }
}

async fn place_orders(number: usize, addresses: Addresses, stop: watch::Receiver<bool>) -> Orders {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWERED_WITHIN).build().unwrap();
    let mut orders = Orders::default();
    let mut sent = SentOrder { user_id: u32::try_from(number).unwrap() + 1, number: 0 };
    let mut ticks = interval(BETWEEN_ORDERS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow() {
        ticks.tick().await;
        let api = addresses.get(number);
        sent.number += 1;
        let answer = place(&client, &api, sent).await;
        orders.asked_for.push((sent, answer));
        let Some(order_id) = answer else {
            orders.unanswered += 1;
            continue;
        };
        orders.accepted.push(order_id);
        if orders.accepted.len().is_multiple_of(CANCELED_ONE_IN) {
            // Whatever the answer is, the history must be sound.
            let _ = client.post(format!("{api}/orders/{order_id}/cancel")).send().await;
        }
    }
    orders
}

/// The id of the order if the API accepted it.
async fn place(client: &reqwest::Client, api: &str, sent: SentOrder) -> Option<Uuid> {
    let request = client.post(format!("{api}/order/create-order")).json(&sent.as_json());
    let response = request.send().await.ok()?;
    let status = response.status();
    assert!(status == 201 || status.is_server_error(), "a sound order was answered with {status}");
    let body: Value = response.error_for_status().ok()?.json().await.ok()?;
    let order_id = body["data"]["order_id"].as_str().unwrap_or_else(|| panic!("no order id in {body}"));
    Some(order_id.parse().unwrap())
}
