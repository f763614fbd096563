//! A worker in Rust whose work blocks: it runs on threads of its own, and ends when nobody waits for it any more.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use orders_worker::{Attempt, Done, NotDone, Outcome, Processor, async_trait};
use serde_json::json;
use tokio::task::spawn_blocking;

fn main() -> ExitCode {
    orders_worker::main(ShipOnThreads)
}

struct ShipOnThreads;

#[async_trait]
impl Processor for ShipOnThreads {
    async fn process(&self, attempt: Attempt<'_>) -> Outcome {
        let (items, stop) = (attempt.order.item_ids.as_slice().len(), attempt.stop.clone());
        let packed = spawn_blocking(move || pack(items, || stop.is_cancelled())).await?;
        let boxes = packed.ok_or_else(|| NotDone::retry("nobody waited any more"))?;
        Ok(Done::with(&json!({ "boxes": boxes }))?)
    }
}

/// Stands for work that computes for long: packs a box for each item, and looks between two whether it should go on.
fn pack(items: usize, is_over: impl Fn() -> bool) -> Option<usize> {
    for _ in 0..items {
        if is_over() {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
    Some(items)
}
