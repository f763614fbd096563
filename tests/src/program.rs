//! The real programs, as processes.

use std::env;
use std::io::{PipeReader, Read, pipe};
use std::net::SocketAddr;
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, redirect};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use uuid::Uuid;
use xtask::addresses::{free_port, loopback};
use xtask::process::freeze;

use crate::eventually::eventually;
use crate::release::Release;
use crate::reply::Reply;

/// A second on a quiet machine.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Longer than a program may take to see that its database is away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// Longer than any grace period that the tests set, by as much as a loaded machine may need.
const ENDED_WITHIN: Duration = Duration::from_secs(40);

/// A running `orders-api`.
#[derive(Debug)]
pub struct Api(Program);

/// A running `orders-worker`.
#[derive(Debug)]
pub struct Worker(Program);

/// A running program with an HTTP address. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    child: Mutex<Child>,
    output: Arc<Mutex<Vec<u8>>>,
    address: SocketAddr,
    client: Client,
}

impl Api {
    /// Starts the API on a database and waits until it is ready.
    pub async fn start(database_url: &str, env: &[(&str, &str)]) -> Self {
        let api = Self::start_unready(database_url, env).await;
        api.wait_until_ready().await;
        api
    }

    /// Starts the API and waits until it answers at all.
    pub async fn start_unready(database_url: &str, env: &[(&str, &str)]) -> Self {
        Self::start_release(Release::This, database_url, env).await
    }

    /// Starts the API of a release and waits until it answers at all.
    pub async fn start_release(release: Release, database_url: &str, env: &[(&str, &str)]) -> Self {
        let program = Program::start("orders-api", command(release, "orders-api", env), "API_LISTEN", database_url);
        program.wait_until_alive().await;
        Self(program)
    }

    /// Starts the API with both of its outputs on one pipe, which only the caller reads, if anybody, and waits until it is
    /// ready.
    pub async fn start_unread(database_url: &str, env: &[(&str, &str)]) -> (Self, PipeReader) {
        let (program, reader) = Program::start_unread("orders-api", "API_LISTEN", database_url, env).await;
        (Self(program), reader)
    }

    /// Starts the API with so many descriptors at most. Nothing is waited for: it may refuse to run.
    #[must_use]
    pub fn launch_with_descriptors(descriptors: u32, database_url: &str) -> Self {
        let command = with_descriptors(descriptors, "orders-api");
        Self(Program::start("orders-api", command, "API_LISTEN", database_url))
    }

    /// Places an order and returns its id.
    pub async fn place(&self, order: &Value) -> Uuid {
        self.place_text(&order.to_string()).await
    }

    /// Places an order given as JSON text and returns its id.
    pub async fn place_text(&self, order: &str) -> Uuid {
        let reply = self.post("/order/create-order", order).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        order_id(&reply)
    }

    /// Ends the API by SIGTERM and waits for its end.
    pub async fn terminate(self) -> ExitStatus {
        self.0.end_by(Signal::TERM).await
    }

    /// Ends the API by SIGHUP, as a terminal does that goes away, and waits for its end.
    pub async fn hang_up(self) -> ExitStatus {
        self.0.end_by(Signal::HUP).await
    }
}

impl Worker {
    /// Starts a worker on a database and waits until it is ready.
    pub async fn start(database_url: &str, env: &[(&str, &str)]) -> Self {
        let worker = Self::start_unready(database_url, env).await;
        worker.wait_until_ready().await;
        worker
    }

    /// Starts a worker and waits until it answers at all.
    pub async fn start_unready(database_url: &str, env: &[(&str, &str)]) -> Self {
        Self::start_release(Release::This, database_url, env).await
    }

    /// Starts a worker of a release and waits until it answers at all.
    pub async fn start_release(release: Release, database_url: &str, env: &[(&str, &str)]) -> Self {
        let worker = Self::launch(release, database_url, env);
        worker.wait_until_alive().await;
        worker
    }

    /// Starts a worker of a release that may end at any moment, so that nothing is waited for.
    #[must_use]
    pub fn launch(release: Release, database_url: &str, env: &[(&str, &str)]) -> Self {
        Self(Program::start("orders-worker", command(release, "orders-worker", env), "WORKER_LISTEN", database_url))
    }

    /// Starts a worker with so many descriptors at most. Nothing is waited for: it may refuse to run.
    #[must_use]
    pub fn launch_with_descriptors(descriptors: u32, database_url: &str) -> Self {
        let command = with_descriptors(descriptors, "orders-worker");
        Self(Program::start("orders-worker", command, "WORKER_LISTEN", database_url))
    }

    /// Starts a worker as [`Api::start_unread`] does the API.
    pub async fn start_unread(database_url: &str, env: &[(&str, &str)]) -> (Self, PipeReader) {
        let (program, reader) = Program::start_unread("orders-worker", "WORKER_LISTEN", database_url, env).await;
        (Self(program), reader)
    }

    /// Ends the worker by SIGTERM and waits for its end.
    pub async fn terminate(self) -> ExitStatus {
        self.0.end_by(Signal::TERM).await
    }

    /// Ends the worker by SIGHUP, as a terminal does that goes away, and waits for its end.
    pub async fn hang_up(self) -> ExitStatus {
        self.0.end_by(Signal::HUP).await
    }
}

impl Deref for Api {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl Deref for Worker {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl Program {
    fn start(name: &'static str, mut command: Command, listen: &str, database_url: &str) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(name, command, listen, database_url)
    }

    async fn start_unread(
        name: &'static str,
        listen: &str,
        database_url: &str,
        env: &[(&str, &str)],
    ) -> (Self, PipeReader) {
        let (reader, writer) = pipe().expect("a pipe can be made");
        let mut command = command(Release::This, name, env);
        command.stdout(writer.try_clone().expect("a pipe can be shared")).stderr(writer);
        let program = Self::spawn(name, command, listen, database_url);
        program.wait_until_alive().await;
        program.wait_until_ready().await;
        (program, reader)
    }

    fn spawn(name: &'static str, mut command: Command, listen: &str, database_url: &str) -> Self {
        let address = loopback(free_port().expect("a port is free"));
        let mut child = command
            .env("DATABASE_URL", database_url)
            .env(listen, address.to_string())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let output = Arc::default();
        collect(child.stdout.take(), &output);
        collect(child.stderr.take(), &output);
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(ANSWERED_WITHIN)
            .build()
            .expect("a plain client can be built");
        Self { name, child: Mutex::new(child), output, address, client }
    }

    /// The address in the form of the `…_LISTEN` settings.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// For requests of a special kind, to be sent by [`Self::send`].
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request and reads its answer.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        let response = request.send().await.unwrap_or_else(|error| panic!("{}: {error:?}", self.name));
        Reply::read(response).await.unwrap_or_else(|error| panic!("{}: {error:?}", self.name))
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.client.get(self.url(path))).await
    }

    /// Posts JSON text to a path.
    pub async fn post(&self, path: &str, json: &str) -> Reply {
        let request = self.client.post(self.url(path)).header("content-type", "application/json");
        self.send(request.body(json.to_owned())).await
    }

    /// Waits until the program says that it is ready.
    pub async fn wait_until_ready(&self) {
        self.wait_for_readiness(200).await;
    }

    /// Waits until `/readyz` answers with `status`, and returns the answer.
    pub async fn wait_for_readiness(&self, status: u16) -> Reply {
        let what = format!("{} answers /readyz with {status}", self.name);
        eventually(&what, READY_WITHIN, || async {
            let reply = self.get("/readyz").await;
            (reply.status == status).then_some(reply)
        })
        .await
    }

    /// The sum over all label sets of a counter in `/metrics/prometheus`.
    pub async fn counter(&self, name: &str) -> f64 {
        let text = self.get("/metrics/prometheus").await.text;
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with([' ', '{']))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// The memory that the process has now, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory_as("VmRSS:")
    }

    /// The most memory that the process ever had, in bytes.
    #[must_use]
    pub fn memory_peak(&self) -> u64 {
        self.memory_as("VmHWM:")
    }

    fn memory_as(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the program runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a process has memory");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes");
        kilobytes * 1024
    }

    /// How many descriptors the process has open now: its connections, and some more.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the program runs").count()
    }

    /// How the program ended, once it has.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("a child can be waited for")
    }

    /// What the program has said so far.
    #[must_use]
    pub fn logs(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Ends the program by SIGKILL, in the middle of whatever it does, and waits for its end.
    pub fn kill(&self) {
        let mut child = self.child();
        child.kill().and_then(|()| child.wait()).expect("a child can be killed");
    }

    /// Asks the program to end, by SIGTERM, and does not wait.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops the program by SIGSTOP: it does nothing, and does not know. Returns when the last of its threads has stopped.
    pub fn pause(&self) {
        freeze(Pid::from_child(&self.child())).expect("the program runs");
    }

    /// Lets the paused program go on where it was, by SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until the program listens; the first sign that it has ended fails the test.
    async fn wait_until_alive(&self) {
        let livez = self.url("/livez");
        let what = format!("{} answers /livez", self.name);
        eventually(&what, READY_WITHIN, || {
            if let Some(status) = self.ended() {
                panic!("{} has ended: {status}", self.name);
            }
            let request = self.client.get(&livez).send();
            async move { request.await.ok().filter(|reply| reply.status() == 200) }
        })
        .await;
    }

    async fn end_by(self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let what = format!("{} ends after {signal:?}", self.name);
        eventually(&what, ENDED_WITHIN, || async { self.ended() }).await
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child()), signal).expect("the program runs");
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            show(self.name, &self.logs());
        }
    }
}

/// Runs one of the programs to its end.
pub async fn run(name: &'static str, args: &[&str], env: &[(&str, &str)]) -> Output {
    run_release(Release::This, name, args, env).await
}

/// Runs one of the programs of a release to its end.
pub async fn run_release(release: Release, name: &'static str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = command(release, name, env);
    command.args(args);
    tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("running a program does not panic")
        .unwrap_or_else(|error| panic!("cannot run {name}: {error}"))
}

/// What a program said, on both of its outputs.
pub(crate) fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The order id in the answer to a placed order.
fn order_id(reply: &Reply) -> Uuid {
    let body = reply.json();
    let id = body["data"]["order_id"].as_str().unwrap_or_else(|| panic!("no order id in {reply:?}"));
    id.parse().expect("an order id is a UUID")
}

/// A program with nothing of the tests' own environment but what it cannot do without.
fn command(release: Release, name: &str, env: &[(&str, &str)]) -> Command {
    bare(Command::new(release.binary(name)), env)
}

/// The same, of this release, with so many descriptors at most, which it cannot raise.
fn with_descriptors(descriptors: u32, name: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n "$0" && exec "$1""#, &descriptors.to_string()]).arg(Release::This.binary(name));
    bare(shell, &[])
}

fn bare(mut command: Command, env: &[(&str, &str)]) -> Command {
    command.env_clear().env("RUST_BACKTRACE", "1").envs(env.iter().copied()).stdin(Stdio::null());
    for kept in ["PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Reads on its own thread what a program says, so that a full pipe never stops the program.
fn collect(source: Option<impl Read + Send + 'static>, output: &Arc<Mutex<Vec<u8>>>) {
    let Some(mut source) = source else { return };
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut buffer = [0_u8; 8192];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            let chunk = buffer.get(..count).unwrap_or_default();
            output.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(chunk);
        }
    });
}

#[expect(clippy::print_stderr, reason = "a failed test shows what its programs said")]
pub(crate) fn show(name: &str, output: &str) {
    eprintln!("== {name} said:\n{output}");
}
