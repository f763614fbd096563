//! What the API computes for an order, without HTTP and the database.

use std::hint::black_box;

use chrono::Utc;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use orders_api::bench::{read_batch, read_order, write_created, write_list, write_order};
use orders_shared::domain::{NewOrder, Order};
use orders_shared::store::bench::statement;

/// The order of the brief.
const ORDER: &str = r#"{"user_id": 1, "item_ids": [1, 2], "total_amount": 100.0}"#;

/// An order with all that it can have.
const LABELLED: &str = r#"{"user_id": 1, "item_ids": [1, 2], "total_amount": 129.90, "currency": "EUR",
    "external_id": "2026-11-0815", "metadata": {"channel": "web"}, "process_after": "2030-01-31T08:00:00Z"}"#;

fn read(criterion: &mut Criterion) {
    let items: Vec<_> = (1..=100).collect();
    let items = format!(r#"{{"user_id": 1, "item_ids": {items:?}, "total_amount": 100.0}}"#);
    criterion.bench_function("read an order", |it| it.iter(|| read_order(black_box(ORDER.as_bytes()))));
    criterion.bench_function("read an order of 100 items", |it| it.iter(|| read_order(black_box(items.as_bytes()))));
    let batch = batch_of(ORDER);
    criterion.bench_function("read a batch of 100 orders", |it| it.iter(|| read_batch(black_box(batch.as_bytes()))));
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build the statement of 100 orders");
    for (name, order) in [("plain", ORDER), ("labelled", LABELLED)] {
        let orders = orders(order);
        group.throughput(Throughput::Elements(100));
        group.bench_function(name, |it| it.iter(|| statement(black_box(&orders))));
    }
}

fn write(criterion: &mut Criterion) {
    let placed: Vec<Order> = orders(LABELLED).into_iter().map(|order| order.placed(Utc::now())).collect();
    let id = placed.first().map(|order| order.order_id);
    criterion.bench_function("write a created order", |it| it.iter(|| black_box(id).map(write_created)));
    let one = || placed.first().cloned();
    criterion.bench_function("write an order", |it| {
        it.iter_batched(one, |order| order.map(write_order), BatchSize::SmallInput);
    });
    criterion.bench_function("write a list of 100 orders", |it| {
        it.iter_batched(|| placed.clone(), write_list, BatchSize::SmallInput);
    });
}

fn orders(order: &str) -> Vec<NewOrder> {
    let orders = read_batch(batch_of(order).as_bytes());
    orders.into_iter().flatten().collect()
}

fn batch_of(order: &str) -> String {
    // An external id is unique in a batch.
    let orders: Vec<_> = (0..100).map(|n| order.replace("2026-11-0815", &format!("2026-11-{n}"))).collect();
    format!(r#"{{"orders": [{}]}}"#, orders.join(","))
}

criterion_group!(hot, read, build, write);
criterion_main!(hot);
