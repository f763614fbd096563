//! `cargo xtask test`: provides what the tests need, runs them, and adds up their results.

mod browser;
pub(crate) mod chaos;
mod compose;
mod faketime;
mod mariadb_backup;
mod previous;
pub(crate) mod run_dir;
mod summary;
mod tour;

use std::io::{IsTerminal, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use self::run_dir::RunDir;
use self::summary::Summary;
use crate::binaries::Binaries;
use crate::checkout::Checkout;
use crate::database::{Choice, Engine, MYSQL_IMAGE, Purpose, Server, Source, is_off_loopback};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::process::Process;

/// Names a server for the tests to use.
const URL_VARIABLE: &str = "TEST_DATABASE_URL";

/// The arguments of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the tests' database comes from
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    database: Choice,
    /// How often the tests are run, on one database; a round that fails is the last
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
    let obstacles = [
        ("compose::", "compose deployment", compose::obstacle(&source, interrupt)?),
        ("chromium::", "a real browser on another origin", browser::obstacle(interrupt)?),
        ("clock::", "workers with a wrong clock", faketime::obstacle(interrupt)?),
        ("server_clock::", "servers whose clock is set", faketime::server_obstacle(&source)),
        ("mariadb_backup::", "the backup of a MariaDB", mariadb_backup::obstacle(&source, interrupt)?),
        ("tour::", "the tour of the documentation", tour::obstacle(interrupt)?),
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

/// Builds what the tests start, and runs them by `cargo` on a database from `source`.
fn run_on(
    source: Source,
    run_dir: &RunDir,
    mut cargo: Command,
    rounds: u32,
    checkout: &Checkout,
    interrupt: &Interrupt,
) -> Result<(bool, Summary)> {
    Binaries::build_for_tests(checkout, interrupt)?;
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
    let is_off_loopback = database.is_off_loopback(interrupt);
    drop(database);
    if !is_off_loopback? {
        say("== NOT TESTED: servers that are not reached over loopback, since this machine has no other way to them");
    }
    say(format_args!("== tested on {name}"));
    Ok(verdict)
}

fn exit_code(is_success: bool) -> ExitCode {
    if is_success { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// The database of a test run; dropping it stops what was started for it.
enum TestDatabase {
    Elsewhere,
    /// Started by the tests themselves, removed by us after them.
    Container {
        engine: Engine,
        name: String,
    },
    Server(Server),
}

impl TestDatabase {
    /// Tells the tests where their database is, and starts it if need be.
    fn provide(source: Source, run_dir: &RunDir, cargo: &mut Command, interrupt: &Interrupt) -> Result<Self> {
        Ok(match source {
            Source::Url(_) => Self::Elsewhere,
            Source::Docker(engine) => {
                let name = run_dir.name_container()?;
                cargo.env_remove(URL_VARIABLE).env("ORDERS_TEST_CONTAINER", &name);
                // `docker compose` reads this one by itself.
                cargo.env("COMPOSE_PROJECT_NAME", &name);
                Self::Container { engine, name }
            }
            Source::Private(program) => {
                let server = Server::start(&program, run_dir.data(), Purpose::Tests, interrupt)?;
                cargo.env(URL_VARIABLE, server.url());
                Self::Server(server)
            }
        })
    }

    /// Whether the server counts the interrupted handshakes of the programs: those over loopback it forgives.
    fn is_off_loopback(&self, interrupt: &Interrupt) -> Result<bool> {
        Ok(match self {
            // The user who names a server knows where it is.
            Self::Elsewhere => true,
            Self::Container { engine, name } => is_off_loopback(engine, name, interrupt)?.unwrap_or(true),
            Self::Server(server) => server.is_off_loopback(),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Elsewhere => "the server of TEST_DATABASE_URL".to_owned(),
            Self::Container { engine, .. } => format!("{MYSQL_IMAGE} in a container (Docker {})", engine.version()),
            Self::Server(server) => format!("{} (private server)", server.version()),
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Self::Container { engine, name } = self {
            engine.remove_container(name);
            engine.remove_own_servers(name);
            // The test takes its deployment down; one cut short could not.
            engine.remove_deployment(name);
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

/// Runs cargo with its output passed through, and sums up what it says.
fn run_tests(cargo: &mut Command, interrupt: &Interrupt) -> Result<(bool, Summary)> {
    let mut process = Process::start("cargo test", cargo.stdout(Stdio::piped()))?;
    let stdout = process.stdout();
    let reader = std::thread::spawn(move || stdout.map(pass_through).unwrap_or_default());
    let status = process.wait(interrupt)?;
    // A program that a test left behind may hold the pipe: it goes first.
    drop(process);
    let output = reader.join().unwrap_or_default();
    Ok((status.success(), Summary::of(&output)))
}

/// Copies `source` to stdout as it comes, so that a running test's name
/// shows, and returns all of it.
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
