//! A server of a test's own in a container.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::runner::{Extras, Runner};
use crate::own_address::{CLIENTS_NAME, address_of_container};
use crate::program::{free_port, show, text_of};

const IMAGE: &str = "mysql:9.7";

/// Where the server listens in its container.
const PORT: u16 = 3306;

/// What a second container runs, which exists for its address only.
const HOLDER: &str = "sleep";

/// A signal reaches the last of a server's threads in milliseconds, on a busy machine later.
const FREEZES_WITHIN: Duration = Duration::from_secs(30);

/// Names the run that a container belongs to, so that `cargo xtask test` finds what a killed test left.
const LABEL: &str = "orders.test-run";

/// MySQL writes its dirty pages before it goes; Docker kills it after this.
const STOP_LIMIT_SECS: &str = "60";

/// Its data lies in the image's own volume, which outlives the server and goes with the container.
///
/// It shares the network of a second container, so that it keeps its address when it is started again: Docker gives that of
/// a container that has ended to the next one that starts.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
    holder: String,
    published: SocketAddr,
}

impl Container {
    pub(super) fn start(password: &str, extras: &Extras<'_>) -> Self {
        let run = env::var("ORDERS_TEST_CONTAINER").unwrap_or_else(|_| "orders-tests".to_owned());
        let name = format!("{run}-{}", Uuid::now_v7().simple());
        let published = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let container = Self { holder: format!("{name}-network"), name, published };
        let label = format!("{LABEL}={run}");
        container.hold_address(&label);
        let mut command = Command::new("docker");
        command
            .args(["run", "--detach", "--name", &container.name, "--label", &label])
            .args(["--network", &format!("container:{}", container.holder)])
            .args(["--env", "MYSQL_ROOT_PASSWORD", "--env", "MYSQL_ROOT_HOST=%", "--env", "MYSQL_INITDB_SKIP_TZINFO=1"])
            .args(extras.paths.iter().map(|path| format!("--volume={0}:{0}:ro", path.display())))
            .args(extras.env.iter().map(|(name, value)| format!("--env={name}={value}")))
            .args([IMAGE, "--mysqlx=OFF"])
            .args(extras.args)
            .env("MYSQL_ROOT_PASSWORD", password);
        run_docker(&mut command);
        container
    }

    fn hold_address(&self, label: &str) {
        let publish = format!("{}:{PORT}", self.published);
        let mut command = Command::new("docker");
        command
            .args(["run", "--detach", "--name", &self.holder, "--label", label, "--publish", &publish])
            .args(["--add-host", &format!("{CLIENTS_NAME}:host-gateway")])
            .args(["--entrypoint", HOLDER, IMAGE, "infinity"]);
        run_docker(&mut command);
    }

    /// Runs a docker command on this container.
    fn docker(&self, args: &[&str]) -> String {
        run_docker(Command::new("docker").args(args).arg(&self.name))
    }
}

impl Runner for Container {
    fn addresses(&self) -> Vec<SocketAddr> {
        let own = address_of_container(&self.holder, HOLDER).map(|ip| SocketAddr::new(ip, PORT));
        own.into_iter().chain([self.published]).collect()
    }

    fn kill(&self) {
        self.docker(&["kill"]);
    }

    fn stop(&self) {
        self.docker(&["stop", "--time", STOP_LIMIT_SECS]);
    }

    fn start_again(&self) {
        self.docker(&["start"]);
    }

    /// By a signal: `docker pause` now and then cannot freeze a server that is busy ("unable to freeze").
    fn freeze(&self) {
        self.docker(&["kill", "--signal", "STOP"]);
        let processes = || run_docker(Command::new("docker").args(["top", &self.name, "-o", "pid,stat"]));
        let is_stopped = |process: &str| process.split_whitespace().last().is_some_and(|state| state.starts_with('T'));
        let asked = Instant::now();
        while !processes().lines().skip(1).all(is_stopped) {
            assert!(asked.elapsed() < FREEZES_WITHIN, "the container {} does not freeze", self.name);
        }
    }

    fn thaw(&self) {
        self.docker(&["kill", "--signal", "CONT"]);
    }

    fn assert_runs(&self) {
        let state = self.docker(&["inspect", "--format", "{{.State.Running}}"]);
        assert_eq!(state.trim(), "true", "the container {} has ended", self.name);
    }
}

impl Drop for Container {
    /// Never panics: a second panic would hide the first.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = Command::new("docker").args(["logs", "--tail", "40", &self.name]).output()
        {
            show(&self.name, &text_of(&log));
        }
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.name, &self.holder]).output();
    }
}

fn run_docker(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the docker command can be started");
    assert!(output.status.success(), "{command:?}: {}", text_of(&output));
    text_of(&output)
}
