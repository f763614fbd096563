//! What an order costs the heap under a load that is always the same, in figures that do not depend on the machine. An
//! allocator counts for its whole process, so both programs run in this one, which does nothing else meanwhile.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::alloc::System;
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser;
use orders_api::{ApiSettings, Hosts, MemoryBudget};
use orders_shared::http::Listener;
use orders_shared::metrics::registry;
use orders_shared::telemetry;
use orders_shared::version::Version;
use orders_worker::{Attempt, Done, Outcome, Processor, Work};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VERSION: Version = Version::new("0.0.0", None);

/// Placed by a request each, one after the other.
const SINGLE: usize = 2_000;

/// Placed by batches.
const BATCHED: usize = 4_000;

const BATCH: usize = 100;

/// The order of the documentation's example.
const ORDER: &str = r#"{"user_id":1,"item_ids":[1,2],"total_amount":100.0}"#;

/// Longer than an answer, and the whole of a worker's load, take on a loaded machine.
const SOON: Duration = Duration::from_mins(2);

/// What an order takes of the heap.
#[derive(Clone, Copy)]
struct Cost {
    /// Those that only grow another one included.
    allocations: f64,
    /// That they ask for.
    bytes: f64,
}

impl Cost {
    /// What `work` takes for each of its orders.
    fn of(orders: usize, work: impl FnOnce()) -> Self {
        let region = Region::new(HEAP);
        work();
        let all = region.change();
        let number = |count| f64::from(u32::try_from(count).expect("a load has less than 4 GB"));
        let share = |count| number(count) / number(orders);
        Self { allocations: share(all.allocations + all.reallocations), bytes: share(all.bytes_allocated) }
    }

    fn is_at_most(self, most: Self) -> bool {
        self.allocations <= most.allocations && self.bytes <= most.bytes
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} allocations, {:.0} bytes", self.allocations, self.bytes)
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "with --nocapture it tells the figures")]
fn an_order_costs_the_heap_no_more_than_it_did() {
    // It rests while something is counted.
    let own = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = own.block_on(orders_tests::database());

    let (single, batched) = place(&database.url);
    let completed = complete(&database.url);

    assert_eq!(own.block_on(database.open_orders()), 0, "orders that the worker left");
    let figures = [
        ("to place an order by a request of its own", single, Cost { allocations: 110.0, bytes: 45_000.0 }),
        ("to place an order in a batch", batched, Cost { allocations: 9.5, bytes: 2_450.0 }),
        ("to claim and complete an order", completed, Cost { allocations: 15.5, bytes: 6_200.0 }),
    ];
    for (what, cost, most) in figures {
        println!("{what}: {cost} (at most {most})");
    }
    for (what, cost, most) in figures {
        assert!(cost.is_at_most(most), "{what}: {cost}; at most {most}");
    }
}

/// What the API needs for an order, by single requests and by batches.
fn place(database_url: &str) -> (Cost, Cost) {
    use orders_api::cli::{Cli, Command};
    // With short grace, so that it ends soon, and with the default log, whatever the environment says.
    let arguments = format!(
        "orders-api serve --database-url {database_url} --api-listen 127.0.0.1:0 --shutdown-grace-secs 1 --log-filter info"
    );
    let Command::Serve(args) = Cli::parse_from(arguments.split(' ')).command else { panic!("another command") };
    let _log = telemetry::start(&args.log).expect("the log starts once");
    let (runtime, stop) = (Runtime::new().expect("a runtime"), CancellationToken::new());
    let listener = runtime.block_on(Listener::bind(args.api_listen)).expect("a free port");
    let mut client = Client::of(&listener);
    let _runtime = runtime.enter();
    let database = args.database.store().expect("the settings are sound");
    let serving = runtime.spawn(orders_api::serve(
        database,
        listener,
        registry(VERSION).expect("it has figures"),
        ApiSettings {
            hosts: Hosts::reached_at(args.api_listen.ip(), &args.api_allowed_hosts).expect("they are names"),
            budget: MemoryBudget::of_mb(args.api_memory_mb),
            grace: args.shutdown.grace(),
            version: VERSION,
        },
        stop.clone(),
    ));

    let single = request("/order/create-order", ORDER);
    let batch = request("/orders/batch", &format!(r#"{{"orders":[{}]}}"#, [ORDER; BATCH].join(",")));
    // The first ones open connections and fill what is kept.
    client.place(&single);
    client.place(&batch);
    let single = Cost::of(SINGLE, || (0..SINGLE).for_each(|_| client.place(&single)));
    let batched = Cost::of(BATCHED, || (0..BATCHED / BATCH).for_each(|_| client.place(&batch)));

    stop.cancel();
    drop(client);
    runtime.block_on(serving).expect("no panic").expect("the API ends in good order");
    (single, batched)
}

/// What a worker needs for an order, its start and its end included.
fn complete(database_url: &str) -> Cost {
    use orders_worker::cli::{Cli, Command};
    let orders = 1 + SINGLE + BATCH + BATCHED;
    let arguments =
        format!("orders-worker run --database-url {database_url} --worker-listen 127.0.0.1:0 --worker-concurrency 500");
    let Command::Run(args) = Cli::parse_from(arguments.split(' ')).command else { panic!("another command") };
    let (runtime, stop) = (Runtime::new().expect("a runtime"), CancellationToken::new());
    let settings = args.worker.settings(VERSION);
    let listener = runtime.block_on(Listener::bind(args.worker.listen.worker_listen)).expect("a free port");
    let database = args.worker.database.store().expect("the settings are sound");
    let work = Work::of(UntilNoneIsLeft { left: AtomicUsize::new(orders), stop: stop.clone() });

    Cost::of(orders, || {
        let registry = registry(VERSION).expect("it has figures");
        let run = orders_worker::run(database, listener, work, registry, settings, stop);
        let ended = runtime.block_on(async { tokio::time::timeout(SOON, run).await });
        ended.expect("all orders are completed soon").expect("the worker ends in good order");
    })
}

/// Work that is nothing, and stops its worker when it was done on all orders: so nobody needs to ask whether it was.
struct UntilNoneIsLeft {
    left: AtomicUsize,
    stop: CancellationToken,
}

#[async_trait]
impl Processor for UntilNoneIsLeft {
    async fn process(&self, _: Attempt<'_>) -> Outcome {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.cancel();
        }
        Ok(Done::default())
    }
}

fn request(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A client that keeps its connection, and allocates nothing for a request.
struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    fn of(listener: &Listener) -> Self {
        let stream = TcpStream::connect(listener.address()).expect("the API listens");
        stream.set_nodelay(true).expect("a connection has options");
        stream.set_read_timeout(Some(SOON)).expect("a connection has options");
        // Room for the answer to a batch.
        Self { stream, answer: vec![0; 1 << 20] }
    }

    /// Sends a request that places orders, and waits for the whole answer.
    fn place(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("the API reads");
        let mut length = 0;
        loop {
            let room = self.answer.get_mut(length..).expect("the answer has room");
            length += match self.stream.read(room).expect("the API answers") {
                0 => panic!("the API hung up"),
                count => count,
            };
            let answer = std::str::from_utf8(self.answer.get(..length).unwrap_or_default()).expect("an answer is text");
            let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
            let whole = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if whole == Some(body.len()) {
                return assert!(head.starts_with("HTTP/1.1 201"), "{answer}");
            }
        }
    }
}
