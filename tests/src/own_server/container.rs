//! A server of a test's own in a container.

use std::env;
use std::process::{Command, Stdio};

use uuid::Uuid;

use super::Place;
use crate::program::{free_port, show, text_of};

const IMAGE: &str = "mysql:9.7";

/// Names the run that a container belongs to, so that `cargo xtask test` finds what a killed test left.
const LABEL: &str = "orders.test-run";

/// MySQL writes its dirty pages before it goes; Docker kills it after this.
const STOP_LIMIT_SECS: &str = "60";

/// Its data lies in the image's own volume, which outlives the server and goes with the container.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
    port: u16,
}

impl Container {
    pub(super) fn start(password: &str, extra_args: &[&str]) -> Self {
        let run = env::var("ORDERS_TEST_CONTAINER").unwrap_or_else(|_| "orders-tests".to_owned());
        let container = Self { name: format!("{run}-{}", Uuid::now_v7().simple()), port: free_port() };
        // A port of our choice, because Docker would choose another one at each start.
        let publish = format!("127.0.0.1:{}:3306", container.port);
        let label = format!("{LABEL}={run}");
        let mut command = Command::new("docker");
        command
            .args(["run", "--detach", "--name", &container.name, "--label", &label, "--publish", &publish])
            .args(["--env", "MYSQL_ROOT_PASSWORD", "--env", "MYSQL_ROOT_HOST=%", "--env", "MYSQL_INITDB_SKIP_TZINFO=1"])
            .args([IMAGE, "--mysqlx=OFF"])
            .args(extra_args)
            .env("MYSQL_ROOT_PASSWORD", password);
        run_docker(&mut command);
        container
    }

    /// Runs a docker command on this container.
    fn docker(&self, args: &[&str]) -> String {
        run_docker(Command::new("docker").args(args).arg(&self.name))
    }
}

impl Place for Container {
    fn port(&self) -> u16 {
        self.port
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
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.name]).output();
    }
}

fn run_docker(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the docker command can be started");
    assert!(output.status.success(), "{command:?}: {}", text_of(&output));
    text_of(&output)
}
