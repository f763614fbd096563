//! The real programs, as processes.

use std::env;
use std::io::{PipeReader, Read, pipe};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, redirect};
use rustix::process::{Pid, Signal, kill_process};
use xtask::addresses::{free_port, loopback};
use xtask::process::freeze;

use crate::eventually::{SOON, eventually};
use crate::release::Release;
use crate::reply::Reply;

/// Longer than a program may take to see that its database is away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// Longer than any grace period that the tests set, by as much as a loaded machine may need.
const ENDED_WITHIN: Duration = Duration::from_secs(40);

/// A running `orders-api`.
pub type Api = Running<OrdersApi>;

/// A running `orders-worker`.
pub type Worker = Running<OrdersWorker>;

/// A running program of one kind, until it is ended or its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Running<K>(Arc<Program>, PhantomData<K>);

/// What tells one of the programs from the other.
pub trait Kind {
    /// The name of its file.
    const NAME: &'static str;
    /// The setting of its address.
    const LISTEN: &'static str;
}

/// The kind of [`Api`].
#[derive(Clone, Debug)]
pub enum OrdersApi {}

/// The kind of [`Worker`].
#[derive(Clone, Debug)]
pub enum OrdersWorker {}

impl Kind for OrdersApi {
    const NAME: &'static str = "orders-api";
    const LISTEN: &'static str = "API_LISTEN";
}

impl Kind for OrdersWorker {
    const NAME: &'static str = "orders-worker";
    const LISTEN: &'static str = "WORKER_LISTEN";
}

/// A running program with an HTTP address. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    child: Mutex<Child>,
    output: Arc<Mutex<Vec<u8>>>,
    address: SocketAddr,
    client: Client,
}

impl<K: Kind> Running<K> {
    /// Starts the program on a database and waits until it is ready.
    pub async fn start(database_url: &str, env: &[(&str, &str)]) -> Self {
        let program = Self::start_unready(database_url, env).await;
        program.wait_until_ready().await;
        program
    }

    /// Starts the program and waits until it answers at all.
    pub async fn start_unready(database_url: &str, env: &[(&str, &str)]) -> Self {
        Self::start_release(Release::This, database_url, env).await
    }

    /// Starts the program of a release and waits until it answers at all.
    pub async fn start_release(release: Release, database_url: &str, env: &[(&str, &str)]) -> Self {
        let program = Self::launch(release, database_url, env);
        program.wait_until_alive().await;
        program
    }

    /// Starts the program of a release, and does not wait: it may end at any moment.
    #[must_use]
    pub fn launch(release: Release, database_url: &str, env: &[(&str, &str)]) -> Self {
        Self::spawn(command(release, K::NAME, env).stdout(Stdio::piped()).stderr(Stdio::piped()), database_url)
    }

    /// Starts the program with at most so many descriptors, and does not wait: it may refuse to run.
    #[must_use]
    pub fn launch_with_descriptors(descriptors: u32, database_url: &str) -> Self {
        let mut command = with_descriptors(descriptors, K::NAME);
        Self::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()), database_url)
    }

    /// Starts the program with both of its outputs on one pipe, which nobody but the caller reads, and waits until it is
    /// ready.
    pub async fn start_unread(database_url: &str, env: &[(&str, &str)]) -> (Self, PipeReader) {
        let (reader, writer) = pipe().expect("a pipe can be made");
        let mut command = command(Release::This, K::NAME, env);
        command.stdout(writer.try_clone().expect("a pipe can be shared")).stderr(writer);
        let program = Self::spawn(&mut command, database_url);
        // The reader sees the end of the pipe only when nobody here could write to it any more.
        drop(command);
        program.wait_until_up().await;
        (program, reader)
    }

    fn spawn(command: &mut Command, database_url: &str) -> Self {
        Self(Arc::new(Program::spawn(K::NAME, command, K::LISTEN, database_url)), PhantomData)
    }

    pub(crate) fn program(&self) -> Arc<Program> {
        Arc::clone(&self.0)
    }
}

impl<K> Deref for Running<K> {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl Program {
    fn spawn(name: &'static str, command: &mut Command, listen: &str, database_url: &str) -> Self {
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

    /// Waits until a program that was just launched is ready; the first sign that it has ended fails the test.
    pub async fn wait_until_up(&self) {
        self.wait_until_alive().await;
        self.wait_until_ready().await;
    }

    /// Waits until the program says that it is ready.
    pub async fn wait_until_ready(&self) {
        self.wait_for_readiness(200).await;
    }

    /// Waits until `/readyz` answers with `status`, and returns the answer.
    pub async fn wait_for_readiness(&self, status: u16) -> Reply {
        let what = format!("{} answers /readyz with {status}", self.name);
        eventually(&what, SOON, || async {
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

    /// What the program has printed so far.
    #[must_use]
    pub fn logs(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Ends the program by SIGKILL, in the middle of whatever it does, and waits for its end.
    pub fn kill(&self) {
        let mut child = self.child();
        child.kill().and_then(|()| child.wait()).expect("a child can be killed");
    }

    /// Ends the program by SIGTERM and waits for its end.
    pub async fn terminate(&self) -> ExitStatus {
        self.end_by(Signal::TERM).await
    }

    /// Ends the program by SIGHUP, as a closed terminal does, and waits for its end.
    pub async fn hang_up(&self) -> ExitStatus {
        self.end_by(Signal::HUP).await
    }

    /// Asks the program to end, by SIGTERM, and does not wait.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops the program by SIGSTOP, which it does not notice. Returns when the last of its threads has stopped.
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
        eventually(&what, SOON, || {
            if let Some(status) = self.ended() {
                panic!("{} has ended: {status}", self.name);
            }
            let request = self.client.get(&livez).send();
            async move { request.await.ok().filter(|reply| reply.status() == 200) }
        })
        .await;
    }

    async fn end_by(&self, signal: Signal) -> ExitStatus {
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

/// A program with only those variables of the tests' environment that it cannot do without.
fn command(release: Release, name: &str, env: &[(&str, &str)]) -> Command {
    bare(Command::new(release.binary(name)), env)
}

/// The same of this release with at most so many descriptors, a limit that it cannot raise.
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

/// Reads a program's output on a thread of its own, so that a full pipe never stops the program.
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
