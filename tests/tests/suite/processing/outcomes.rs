//! What becomes of an order after each way in which an attempt can end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orders_tests::{Database, System, wait_until};
use orders_worker::{Attempt, Done, ErrorClass, HttpAnswer, NotDone, OrderResult, Outcome, Processor, WorkError};
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::in_process::{InProcess, does, ends_as_told};
use crate::sample;

/// A result that a number type or a sorted object would change.
const RESULT: &str = r#"{"z":1.10,"a":12345678901234567890123,"é":["'",null]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_work_produced_stands_in_its_order_as_it_was_written_and_in_no_list() {
    let system = System::start().await;
    let worker = InProcess::start(
        &system.database,
        does(|attempt| match attempt.order.user_id.get() {
            1 => Ok(Done { result: Some(OrderResult::from_json(RESULT)?) }),
            2 => Ok(Done::with(&"x".repeat(OrderResult::BYTES_MAX - 2))?),
            _ => Ok(Done::default()),
        }),
    )
    .await;

    let [odd, large, none] = place(&system, [1, 2, 3]).await;
    for order_id in [odd, large, none] {
        system.wait_for_status(order_id, "COMPLETED").await;
    }

    let odd = system.get(&format!("/orders/{odd}")).await.text;
    assert!(odd.contains(&format!(r#""result":{RESULT}"#)), "{odd}");
    assert_eq!(system.order(large).await["result"].as_str().map(str::len), Some(OrderResult::BYTES_MAX - 2));
    assert_eq!(system.order(none).await.get("result"), None);
    let list = system.show("/orders").await;
    assert!(list["orders"].as_array().unwrap().iter().all(|order| order.get("result").is_none()), "{list}");
    assert_eq!(rows(&system.database, "order_results").await, 2);
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large_is_an_error_of_its_order() {
    let system = System::start().await;
    let worker =
        InProcess::start(&system.database, does(|_| Ok(Done::with(&"x".repeat(OrderResult::BYTES_MAX))?))).await;

    let [order_id] = place(&system, [1]).await;
    let order = system.wait_for_status(order_id, "FAILED").await;

    assert_eq!(order["last_error"], "a result has at most 4096 bytes, and this one has 4098");
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_keeps_its_class_and_the_answer_that_says_so() {
    let system = System::start().await;
    let worker = InProcess::start(
        &system.database,
        does(|attempt| {
            let class = ErrorClass::new("out_of_stock").unwrap();
            let answer = Some(HttpAnswer::new(500, "b\u{e9}b\u{e9} \u{1f600}".repeat(200).as_bytes()));
            match (attempt.order.user_id.get(), attempt.number) {
                (1, 1) => Err(NotDone::retry(WorkError { answer, ..WorkError::new(class, "none left") })),
                (2, _) => Err(NotDone::rejected(WorkError::new(class, "sold no more"))),
                (3, 1) => panic!("a bug"),
                _ => Ok(Done::default()),
            }
        }),
    )
    .await;

    let [retried, rejected, panicked] = place(&system, [1, 2, 3]).await;
    system.wait_for_status(retried, "COMPLETED").await;
    system.wait_for_status(rejected, "FAILED").await;
    system.wait_for_status(panicked, "COMPLETED").await;

    let failed = event(&system, retried, "attempt_failed").await;
    assert_eq!((&failed["error"], &failed["error_class"]), (&"none left".into(), &"out_of_stock".into()));
    assert_eq!(failed["http_status"], 500);
    let body = failed["http_body"].as_str().unwrap();
    assert!((1_020..=1_024).contains(&body.len()) && body.starts_with("b\u{e9}b\u{e9} \u{1f600}"), "{body}");
    let failed = event(&system, rejected, "failed").await;
    assert_eq!((&failed["error"], &failed["error_class"]), (&"sold no more".into(), &"out_of_stock".into()));
    assert_eq!((&failed["attempt"], &failed["http_status"]), (&1.into(), &Value::Null));
    let failed = event(&system, panicked, "attempt_failed").await;
    assert_eq!((&failed["error"], &failed["error_class"]), (&"panic: a bug".into(), &"panic".into()));
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_names_a_time_is_followed_by_another_at_that_time() {
    let system = System::start().await;
    let worker = InProcess::start(
        &system.database,
        does(|_| Err(NotDone::Retry { error: "come back".into(), after: Some(Duration::from_hours(1)) })),
    )
    .await;

    let [order_id] = place(&system, [1]).await;
    wait_until("the attempt failed", async || system.order(order_id).await["last_error"] == "come back").await;

    let seconds: i64 = waits_for(&system.database, order_id).await;
    assert!((3_590..=3_600).contains(&seconds), "{seconds}");
    assert_eq!(system.database.state(order_id).await, ("PENDING".to_owned(), 1));
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_wants_any_more_is_canceled_by_its_worker() {
    let system = System::start().await;
    let worker = InProcess::start(&system.database, does(|_| Err(NotDone::Canceled))).await;

    let [order_id] = place(&system, [1]).await;
    system.wait_for_status(order_id, "CANCELED").await;

    assert_eq!(system.story(order_id).await, ["placed", "claimed", "canceled"]);
    let canceled = event(&system, order_id, "canceled").await;
    assert_eq!((&canceled["attempt"], &canceled["error"]), (&1.into(), &Value::Null));
    assert!(canceled["worker_id"].is_string(), "{canceled}");
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_what_it_depends_on_without_using_an_attempt_up_and_is_told_by_two_events() {
    let system = System::start().await;
    let is_away = "the warehouse is away";
    let (end, work) = ends_as_told();
    let worker = InProcess::start(&system.database, work).await;

    let [order_id] = place(&system, [1]).await;
    for times in 1..=8 {
        end.send(Err(NotDone::unavailable(WorkError::new(ErrorClass::CONNECT, is_away)))).unwrap();
        wait_until("it waits", async || outages(&system.database, order_id).await == times).await;
        let pause = "select timestampdiff(microsecond, at, available_at) from order_events order by at desc limit 1";
        let (micros, doubled) = (system.database.scalar::<i64>(pause).await, 1_000_000 << (times - 1));
        assert!((doubled * 8 / 10..=doubled * 12 / 10).contains(&micros), "{times}: {micros}");
        if times < 8 {
            make_due(&system.database, order_id).await;
        }
    }
    let why = system.why(order_id).await;
    assert_eq!((&why["code"], &why["attempt"]), (&"service_unavailable".into(), &0.into()), "{why}");
    for part in [is_away, "(8 tries)"] {
        assert!(why["reason"].as_str().unwrap().contains(part), "{why}");
    }
    end.send(Ok(Done::default())).unwrap();
    make_due(&system.database, order_id).await;
    system.wait_for_status(order_id, "COMPLETED").await;

    let story = system.story(order_id).await;
    assert_eq!(story, ["placed", "claimed", "unavailable", "claimed", "unavailable", "claimed", "completed"]);
    let events = system.events(order_id).await;
    assert_eq!((&events[2]["times"], &events[4]["times"]), (&1.into(), &8.into()));
    assert_eq!((&events[4]["error"], &events[4]["error_class"]), (&is_away.into(), &"connect".into()));
    assert_eq!((&events[4]["attempt"], &events[6]["attempt"]), (&1.into(), &1.into()));
    assert_eq!(rows(&system.database, "order_outages").await, 0);
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_end_ends_a_wait_and_a_new_one_counts_from_one() {
    let system = System::start().await;
    let steps = Mutex::new(vec![
        NotDone::unavailable("away"),
        NotDone::unavailable("away"),
        NotDone::retry("a bad day"),
        NotDone::unavailable("away again"),
        NotDone::rejected("never"),
    ]);
    let worker = InProcess::start(
        &system.database,
        does(move |_| {
            let mut steps = steps.lock().unwrap();
            if steps.is_empty() { Ok(Done::default()) } else { Err(steps.remove(0)) }
        }),
    )
    .await;

    let [order_id] = place(&system, [1]).await;
    wait_until("it is due again and again", async || {
        make_due(&system.database, order_id).await;
        system.database.state(order_id).await.0 == "FAILED"
    })
    .await;

    let events = system.events(order_id).await;
    let told: Vec<_> = events.iter().map(|event| (event["event"].as_str().unwrap(), event["times"].as_u64())).collect();
    let told: Vec<_> = told.into_iter().filter(|(event, _)| *event != "claimed").collect();
    assert_eq!(
        told,
        [
            ("placed", None),
            ("unavailable", Some(1)),
            ("unavailable", Some(2)),
            ("attempt_failed", None),
            ("unavailable", Some(1)),
            ("failed", None)
        ]
    );
    assert_eq!(rows(&system.database, "order_outages").await, 0);
    assert_eq!(system.database.state(order_id).await.1, 2, "only the bad day and the rejection count");
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_has_waited_for_three_days_is_failed() {
    let system = System::start().await;
    let (end, work) = ends_as_told();
    let worker = InProcess::start(&system.database, work).await;

    let [order_id] = place(&system, [1]).await;
    for (times, waited) in [(1, "71 hour"), (2, "72 hour")] {
        end.send(Err(NotDone::unavailable("away for good"))).unwrap();
        wait_until("it waits", async || outages(&system.database, order_id).await == times).await;
        system.database.execute(&format!("update order_outages set since = now(6) - interval {waited}")).await;
        make_due(&system.database, order_id).await;
    }
    end.send(Err(NotDone::unavailable("away for good"))).unwrap();
    let order = system.wait_for_status(order_id, "FAILED").await;

    assert_eq!(order["last_error"], "away for good");
    assert_eq!(rows(&system.database, "order_outages").await, 0);
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_cancels_an_order_ends_its_wait() {
    let system = System::start().await;
    let worker = InProcess::start(&system.database, does(|_| Err(NotDone::unavailable("away")))).await;
    let [order_id] = place(&system, [1]).await;
    wait_until("it waits", async || outages(&system.database, order_id).await == 1).await;
    worker.end().await;

    let reply = system.post(&format!("/orders/{order_id}/cancel"), "").await;

    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(rows(&system.database, "order_outages").await, 0);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_a_batch_in_which_another_claim_was_lost_is_stored_all_the_same() {
    let system = System::start().await;
    let (told, mut begun) = mpsc::unbounded_channel();
    let worker =
        InProcess::start(&system.database, Together { told, outcomes: Box::new(|attempts| done(attempts, "kept")) })
            .await;

    let ids = place(&system, [1, 2, 3]).await;
    let [lost, other, third] = ids;
    let mut batch = Vec::new();
    while batch.len() < 3 {
        let (order_ids, go) = begun.recv().await.unwrap();
        batch.extend(order_ids.iter().copied());
        if order_ids.contains(&lost) {
            // Somebody else has taken the claim.
            system.database.set(lost, "status = 'COMPLETED'").await;
        }
        let _ = go.send(());
    }
    for order_id in [other, third] {
        assert_eq!(system.wait_for_status(order_id, "COMPLETED").await["result"], "kept");
    }

    assert_eq!(system.order(lost).await.get("result"), None);
    worker.end().await;
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_processor_gets_what_one_claim_brought_and_answers_each_order_for_itself() {
    let system = System::start().await;
    system.post("/queue/pause", "").await;
    let [first, .., last] = place(&system, [1, 2, 3, 4, 5, 6]).await;
    let (told, mut begun) = mpsc::unbounded_channel();
    let outcomes = |attempts: &[Attempt<'_>]| {
        let outcome = |attempt: &Attempt<'_>| match attempt.order.user_id.get() {
            1 => Err(NotDone::rejected("not this one")),
            user => Ok(Done::with(&user)?),
        };
        attempts.iter().map(outcome).collect()
    };
    let worker = InProcess::start(&system.database, Together { told, outcomes: Box::new(outcomes) }).await;

    system.post("/queue/resume", "").await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 6 {
        let (batch, go) = begun.recv().await.unwrap();
        sizes.push(batch.len());
        let _ = go.send(());
    }
    sizes.sort_unstable();

    assert_eq!(system.wait_for_status(first, "FAILED").await["last_error"], "not this one");
    assert_eq!(system.wait_for_status(last, "COMPLETED").await["result"], 6);
    assert_eq!(sizes, [2, 4]);
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_answers_too_few_or_panics_fails_those_that_have_no_answer() {
    let system = System::start().await;
    system.post("/queue/pause", "").await;
    let [answered, forgotten] = place(&system, [1, 2]).await;
    let (told, mut begun) = mpsc::unbounded_channel();
    let outcomes = |attempts: &[Attempt<'_>]| match attempts {
        [first, _] if first.number == 1 => vec![Done::with(&"the first").map_err(NotDone::from)],
        _ => panic!("a bug"),
    };
    let worker = InProcess::start(&system.database, Together { told, outcomes: Box::new(outcomes) }).await;
    tokio::spawn(async move {
        while let Some((_, go)) = begun.recv().await {
            let _ = go.send(());
        }
    });

    system.post("/queue/resume", "").await;
    system.wait_for_status(forgotten, "FAILED").await;

    assert_eq!(system.order(answered).await["result"], "the first");
    let events = system.events(forgotten).await;
    assert_eq!(events[2]["error"], "process_many returned fewer outcomes than it was given attempts");
    assert_eq!(events[4]["error"], "panic: a bug");
    worker.end().await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_an_attempt_that_is_given_up_is_told_to_stop() {
    let system = System::start().await;
    let (stopped, mut was_stopped) = mpsc::unbounded_channel();
    let worker = InProcess::start(&system.database, OnAThread { stopped }).await;
    let [order_id] = place(&system, [1]).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;
    wait_until("the thread runs", async || STARTED.load(Ordering::Relaxed)).await;

    worker.end().await;

    assert_eq!(was_stopped.recv().await, Some(order_id));
    assert_eq!(system.database.state(order_id).await, ("PENDING".to_owned(), 0));
    system.end().await;
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// Work that a thread does, which nothing stops from outside.
struct OnAThread {
    stopped: mpsc::UnboundedSender<Uuid>,
}

#[async_trait]
impl Processor for OnAThread {
    async fn process(&self, attempt: Attempt<'_>) -> Outcome {
        let (stop, order_id, stopped) = (attempt.stop.clone(), attempt.order.order_id.uuid(), self.stopped.clone());
        let thread = tokio::task::spawn_blocking(move || {
            STARTED.store(true, Ordering::Relaxed);
            while !stop.is_cancelled() {
                std::thread::yield_now();
            }
            stopped.send(order_id)
        });
        thread.await?.map_err(|_| NotDone::retry("the test is over"))?;
        Ok(Done::default())
    }
}

type Outcomes = dyn Fn(&[Attempt<'_>]) -> Vec<Outcome> + Send + Sync;

type Begun = (Vec<Uuid>, tokio::sync::oneshot::Sender<()>);

/// Work on up to four orders at once, which tells of each batch and waits until it may go on.
struct Together {
    told: mpsc::UnboundedSender<Begun>,
    outcomes: Box<Outcomes>,
}

#[async_trait]
impl Processor for Together {
    async fn process(&self, _: Attempt<'_>) -> Outcome {
        Err(NotDone::rejected("it was given to `process`"))
    }

    fn batch_max(&self) -> usize {
        4
    }

    async fn process_many(&self, attempts: &[Attempt<'_>]) -> Vec<Outcome> {
        let (go, may_go) = tokio::sync::oneshot::channel();
        let order_ids = attempts.iter().map(|attempt| attempt.order.order_id.uuid()).collect();
        let _ = self.told.send((order_ids, go));
        let _ = may_go.await;
        (self.outcomes)(attempts)
    }
}

/// This result of each order of a batch.
fn done(attempts: &[Attempt<'_>], result: &str) -> Vec<Outcome> {
    attempts.iter().map(|_| Ok(Done::with(&result)?)).collect()
}

/// Places an order of each of these users.
async fn place<const N: usize>(system: &System, users: [i64; N]) -> [Uuid; N] {
    let mut ids = [Uuid::nil(); N];
    for (id, user) in ids.iter_mut().zip(users) {
        *id = system.place(&sample::order_of(user)).await;
    }
    ids
}

async fn event(system: &System, order_id: Uuid, name: &str) -> Value {
    let events = system.events(order_id).await;
    events.into_iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("no event {name}"))
}

async fn rows(database: &Database, table: &str) -> i64 {
    database.scalar(&format!("select count(*) from {table}")).await
}

/// How often in a row what an order depends on was away.
async fn outages(database: &Database, order_id: Uuid) -> i64 {
    let times = "select cast(coalesce(max(times), 0) as signed) from order_outages where order_id = ?";
    sqlx::query_scalar(times).bind(order_id).fetch_one(&database.pool).await.unwrap()
}

async fn make_due(database: &Database, order_id: Uuid) {
    let due = "update orders set available_at = now(6) where order_id = ? and status = 'PENDING'";
    sqlx::query(due).bind(order_id).execute(&database.pool).await.unwrap();
}

/// Seconds until an order is due.
async fn waits_for(database: &Database, order_id: Uuid) -> i64 {
    database.column(order_id, "timestampdiff(second, now(6), available_at)").await
}
