//! `cargo xtask test`: provides what the tests need, runs them, and adds up their results.

pub(crate) mod chaos;
mod compose;
mod faketime;
mod mariadb_backup;
mod previous;
pub(crate) mod run_dir;
mod summary;

use std::io::{IsTerminal, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;
use xtask::interrupt::Interrupt;
use xtask::output::say;
use xtask::process::Process;
use xtask::servers::{Choice, Engine, MYSQL_IMAGE, Purpose, Server, Source, install};

use self::run_dir::RunDir;
use self::summary::Summary;
use crate::binaries::Binaries;
use crate::checkout::Checkout;
use crate::database::Database;

/// Names a server for the tests to use.
const URL_VARIABLE: &str = "TEST_DATABASE_URL";

/// The arguments of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the tests' database comes from
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    database: Choice,
    /// How many times to run the tests, on one database; stops at the first round that fails
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Also try today's programs beside those of the release before, which are built first
    #[arg(long)]
    previous: bool,
    /// Passed on to the test programs, such as a filter or --nocapture
    #[arg(last = true)]
    passed_on: Vec<String>,
}

/// Runs the whole suite; the exit code is the tests'.
pub(crate) fn run(args: &Args, checkout: &Checkout, interrupt: &Interrupt) -> Result<ExitCode> {
    let run_dir = RunDir::create(checkout, interrupt)?;
    let source = Source::find(args.database, URL_VARIABLE, interrupt)?;
    let no_previous = previous::obstacle(args.previous, checkout, interrupt)?;
    let no_curl = install::provide_program("curl", interrupt)?;
    let obstacles = [
        ("compose::", "compose deployment", compose::obstacle(&source, interrupt)?),
        ("chromium::", "a real browser on another origin", install::provide_program("chromium", interrupt)?),
        ("clock::", "workers with a wrong clock", faketime::obstacle(interrupt)?),
        ("server_clock::", "servers whose clock is set", faketime::server_obstacle(&source)),
        ("curl::", "the curl line of `orders-worker deliver`", no_curl.clone()),
        ("mariadb_backup::", "the backup of a MariaDB", mariadb_backup::obstacle(&source, interrupt)?),
        ("python::", "a service in Python", install::provide_program("python3", interrupt)?),
        ("tour::", "the tour of the documentation", no_curl),
        ("versions::", "this release beside the one before", no_previous.clone()),
    ];
    let mut cargo = checkout.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast", "--"]);
    for (tests, _, _) in obstacles.iter().filter(|(.., obstacle)| obstacle.is_some()) {
        cargo.args(["--skip", tests]);
    }
    let tell_skipped = || {
        for (_, what, obstacle) in &obstacles {
            if let Some(reason) = obstacle {
                say(format_args!("== skipped: {what} ({reason})"));
            }
        }
    };
    tell_skipped();
    pass_on(&mut cargo, &args.passed_on);
    if no_previous.is_none() {
        previous::provide(checkout, &mut cargo, interrupt)?;
    }
    let (is_success, summary) = run_on(source, &run_dir, cargo, args.rounds, checkout, interrupt)?;
    tell_skipped();
    say(summary.line(is_success));
    Ok(exit_code(is_success))
}

/// Builds the programs that the tests start, and runs `cargo` on a database from `source`.
fn run_on(
    source: Source,
    run_dir: &RunDir,
    mut cargo: Command,
    rounds: u32,
    checkout: &Checkout,
    interrupt: &Interrupt,
) -> Result<(bool, Summary)> {
    Binaries::build(checkout, interrupt)?;
    let database = TestDatabase::provide(source, run_dir, run_dir.mark(&mut cargo), interrupt)?;
    let name = database.name();
    say(format_args!("== testing on {name}"));
    let mut verdict = run_tests(&mut cargo, interrupt)?;
    for round in 2..=rounds {
        if !verdict.0 {
            break;
        }
        say(format_args!("== round {round} of {rounds}"));
        verdict = run_tests(&mut cargo, interrupt)?;
    }
    let is_off_loopback = database.is_off_loopback();
    drop(database);
    if !is_off_loopback? {
        say("== NOT TESTED: servers that are not reached over loopback, as this machine has no other route to them");
    }
    say(format_args!("== tested on {name}"));
    Ok(verdict)
}

fn exit_code(is_success: bool) -> ExitCode {
    if is_success { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// The database of a test run; dropping it stops what was started for it.
enum TestDatabase {
    /// Started by the tests themselves; we remove it after them.
    Container {
        engine: Engine,
        name: String,
    },
    Ready(Database),
}

impl TestDatabase {
    /// Tells the tests where their database is, and starts it if need be.
    fn provide(source: Source, run_dir: &RunDir, cargo: &mut Command, interrupt: &Interrupt) -> Result<Self> {
        let name = run_dir.name_container()?;
        if let Source::Docker(engine) = source {
            cargo.env_remove(URL_VARIABLE).env("ORDERS_TEST_CONTAINER", &name);
            // `docker compose` reads this one by itself.
            cargo.env("COMPOSE_PROJECT_NAME", &name);
            return Ok(Self::Container { engine, name });
        }
        let database = Database::start(source, Purpose::Tests, name, run_dir.data(), interrupt)?;
        cargo.env(URL_VARIABLE, database.url());
        Ok(Self::Ready(database))
    }

    /// Whether the server counts interrupted handshakes of the programs: it does not count those over loopback.
    fn is_off_loopback(&self) -> Result<bool> {
        Ok(match self {
            // If no test needed it, it was never started.
            Self::Container { engine, name } => {
                !engine.ask(&["inspect", name], &Interrupt::never())?.ok || engine.reached_address_of(name)?.is_some()
            }
            // The user who names a server knows where it is.
            Self::Ready(database) => database.server.as_ref().is_none_or(Server::is_off_loopback),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Container { engine, .. } => format!("{MYSQL_IMAGE} in a container (Docker {})", engine.version()),
            Self::Ready(Database { server: Some(server), .. }) => format!("{} (private server)", server.version()),
            Self::Ready(_) => format!("the server of {URL_VARIABLE}"),
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Self::Container { engine, name } = self {
            // Tests that were cut short could not remove their own containers.
            engine.remove_run(name);
        }
    }
}

/// Hands arguments on to the test programs.
fn pass_on(cargo: &mut Command, arguments: &[String]) {
    // The tests' output goes through us, so they cannot see the terminal.
    let is_told = arguments.iter().any(|arg| arg.starts_with("--color"));
    if std::io::stdout().is_terminal() && !is_told {
        cargo.args(["--color", "always"]);
    }
    cargo.args(arguments);
}

/// Runs cargo, passes its output through, and adds up the results in it.
fn run_tests(cargo: &mut Command, interrupt: &Interrupt) -> Result<(bool, Summary)> {
    let mut process = Process::start("cargo test", cargo.stdout(Stdio::piped()))?;
    let stdout = process.stdout();
    let reader = std::thread::spawn(move || stdout.map(pass_through).unwrap_or_default());
    let status = process.wait(interrupt)?;
    // A program that a test left behind may hold the pipe open, so it is stopped first.
    drop(process);
    let output = reader.join().unwrap_or_default();
    Ok((status.success(), Summary::of(&output)))
}

/// Copies `source` to stdout as it comes, so that the name of a running test shows, and returns all of it.
fn pass_through(mut source: impl Read) -> String {
    let mut all = Vec::new();
    let mut buffer = [0_u8; 8192];
    while let Ok(count @ 1..) = source.read(&mut buffer) {
        let chunk = buffer.get(..count).unwrap_or_default();
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(chunk).and_then(|()| stdout.flush());
        all.extend_from_slice(chunk);
    }
    String::from_utf8_lossy(&all).into_owned()
}
