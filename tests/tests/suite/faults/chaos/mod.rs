//! Random faults under load, and then the history of every order.
//!
//! `CHAOS_SECONDS` says how long, and `CHAOS_SEED` chooses the faults: see `cargo xtask chaos`.

mod dice;
mod faults;
mod stage;

use std::env;
use std::time::{Duration, Instant};

use orders_tests::{Change, History, OwnServer, Proxy, Violation, assert_counts_are_exact, check, eventually};
use uuid::Uuid;

use self::dice::Dice;
use self::faults::Fault;
use self::stage::{ATTEMPTS_MAX, Stage};
use crate::clients::Clients;

/// Enough for each kind of fault to happen a few times.
const SECONDS: u64 = 60;

/// Far more than the retries, rescues and pauses that are left need.
const SETTLED_WITHIN: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_order_reaches_one_end_whatever_fails() {
    let seed = from_env("CHAOS_SEED").unwrap_or_else(|| Uuid::now_v7().as_u64_pair().1);
    let duration = Duration::from_secs(from_env("CHAOS_SECONDS").unwrap_or(SECONDS));
    tell(&format!("CHAOS_SEED={seed} CHAOS_SECONDS={}", duration.as_secs()));
    // Few, so that interrupted handshakes do not go unnoticed where the server counts them: off loopback.
    let server = OwnServer::start(&["--max-connect-errors=10"]).await;
    History::record(&server.pool).await;
    let proxy = Proxy::start(&server.url).await;
    let mut stage = Stage::start(&server, &proxy).await;
    let clients = Clients::start(stage.addresses());

    let mut dice = Dice::new(seed);
    let started = Instant::now();
    while started.elapsed() < duration {
        tokio::time::sleep(dice.millis(1_000..3_000)).await;
        stage.heal_what_is_due().await;
        let fault = Fault::choose(&mut dice);
        tell(&format!("{:>6.1} s {fault:?}", started.elapsed().as_secs_f64()));
        stage.suffer(fault, &mut dice).await;
        stage.assert_all_run();
    }
    stage.heal().await;
    let orders = clients.stop().await;
    eventually("every order has reached an end", SETTLED_WITHIN, || async {
        (server.open_orders().await == 0).then_some(())
    })
    .await;

    assert_counts_are_exact(&server.pool).await;
    let history = History::read(&server.pool).await;
    let summary = check(&history, &orders.accepted, orders.unanswered)
        .unwrap_or_else(|violations| panic!("seed {seed}: {}", told(&history, &violations)));
    tell(&format!("{} accepted, {} unanswered; {summary:?}", orders.accepted.len(), orders.unanswered));
    assert_eq!(i64::try_from(summary.placed), Ok(server.orders().await), "no order is gone");
    assert!(summary.completed > 0, "{summary:?}");
    for (error, attempt, rescues) in failures(&server).await {
        let is_explained = match error.as_deref() {
            Some("simulated permanent error") => attempt >= 1,
            Some("simulated error" | "panic: simulated panic") => attempt.to_string() == ATTEMPTS_MAX,
            Some(error) => error.starts_with("poison: ") && rescues == 3,
            None => false,
        };
        assert!(is_explained, "seed {seed}: FAILED after {attempt} attempts and {rescues} rescues by {error:?}");
    }
}

/// Why each FAILED order is so, after how many attempts and rescues.
async fn failures(server: &OwnServer) -> Vec<(Option<String>, u16, u8)> {
    let sql = "select last_error, attempt, rescues from orders where status = 'FAILED'";
    sqlx::query_as(sql).fetch_all(&server.pool).await.unwrap()
}

/// The first few violations, each with the order's whole history.
fn told(history: &[Change], violations: &[Violation]) -> String {
    let mut lines = vec![format!("{} orders break a rule", violations.len())];
    for Violation { rule, order_id, .. } in violations.iter().take(5) {
        lines.push(format!("{order_id} {rule:?}"));
        let changes = history.iter().filter(|change| change.order_id == *order_id);
        lines.extend(changes.map(|change| format!("    {change:?}")));
    }
    lines.join("\n")
}

/// Shows where the test fails, and as it goes with `--nocapture`.
#[expect(clippy::print_stderr, reason = "a failed test shows how to repeat it")]
fn tell(line: &str) {
    eprintln!("{line}");
}

fn from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}
