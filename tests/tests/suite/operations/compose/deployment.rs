//! One run of the deployment.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Orders of this user take ten seconds, so that a worker can be ended while it works on them.
pub(super) const SLOW_USER: i64 = 13;

const FAULTS: &str = "slow=user:13";

/// What would make it another deployment than that of a fresh checkout.
const NOT_INHERITED: [&str; 7] = [
    "API_BIND",
    "COMPOSE_PROFILES",
    "FULFILMENT_SECRET",
    "FULFILMENT_URL",
    "MYSQL_MIGRATE_PASSWORD",
    "MYSQL_PASSWORD",
    "MYSQL_ROOT_PASSWORD",
];

/// One run of `docker-compose.yml` under a project name of its own, taken down when dropped.
pub(super) struct Deployment {
    project: String,
}

impl Deployment {
    pub(super) fn new() -> Self {
        // The test runner names the project, to clean up after a run that was cut short.
        let project = std::env::var("COMPOSE_PROJECT_NAME");
        Self { project: project.unwrap_or_else(|_| format!("orders-test-{}", std::process::id())) }
    }

    /// Runs `docker compose ARGS…` and returns what it printed to standard output.
    pub(super) fn compose(&self, args: &[&str]) -> String {
        self.compose_with(args, &[])
    }

    /// The same with further variables.
    pub(super) fn compose_with(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.command(args).envs(env.iter().copied()).output().expect("the docker command can be started");
        assert_success(args, &output)
    }

    /// Runs `docker compose ARGS…` with further variables, and returns why it failed.
    pub(super) fn refused(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.command(args).envs(env.iter().copied()).output().expect("the docker command can be started");
        assert!(!output.status.success(), "docker {args:?} with {env:?} succeeded");
        text_of(&output)
    }

    /// The address under which the host, and no other machine, reaches `port` of `service`.
    pub(super) fn published(&self, service: &str, port: u16) -> String {
        let address = self.compose(&["port", service, &port.to_string()]);
        assert!(address.starts_with("127.0.0.1:"), "{service} is published at {address}");
        format!("http://{}", address.trim())
    }

    /// A shell in which somebody types commands, in a folder of theirs.
    pub(super) fn shell(&self, folder: &Path, commands: &str) -> Command {
        let mut shell = self.prepared("sh");
        shell.args(["-e", "-c", commands]).current_dir(folder);
        shell
    }

    /// The first container of a service.
    pub(super) fn container(&self, service: &str) -> String {
        let containers = self.compose(&["ps", "--quiet", service]);
        containers.lines().next().expect("the service runs").to_owned()
    }

    /// The exit codes of the stopped containers of `services`.
    pub(super) fn exit_codes(&self, services: &[&str]) -> Vec<String> {
        let containers = self.compose(&[&["ps", "--all", "--quiet"], services].concat());
        containers.split_whitespace().map(|id| docker(&["inspect", "--format", "{{.State.ExitCode}}", id])).collect()
    }

    /// Removes all that the deployment made: containers, network, volumes and images.
    pub(super) fn remove(&self) {
        self.compose(&["down", "--volumes", "--remove-orphans", "--rmi", "local"]);
    }

    /// Whatever still carries the project's name: nothing after [`Self::remove`].
    pub(super) fn leftovers(&self) -> String {
        let label = format!("label=com.docker.compose.project={}", self.project);
        [
            docker(&["ps", "--all", "--quiet", "--filter", &label]),
            docker(&["network", "ls", "--quiet", "--filter", &label]),
            docker(&["volume", "ls", "--quiet", "--filter", &label]),
            docker(&["images", "--quiet", "--filter", &format!("reference={}-*", self.project)]),
        ]
        .concat()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.prepared("docker");
        command.arg("compose").args(args);
        command
    }

    /// Port 0 lets Docker choose free ports on the host, so that neither a running deployment nor another test is in the
    /// way.
    fn prepared(&self, program: &str) -> Command {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
        let mut command = Command::new(program);
        command
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("COMPOSE_FILE", checkout.join("docker-compose.yml"))
            .env("API_PORT", "0")
            .env("PROMETHEUS_PORT", "0")
            .env("SIMULATED_FAULTS", FAULTS)
            .env("COMPOSE_DISABLE_ENV_FILE", "1")
            .stdin(Stdio::null());
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        command
    }
}

impl Drop for Deployment {
    /// After a failure, shows what the containers said first. Never panics: a second panic would hide the first.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.command(&["ps", "--all"]).status();
            let _ = self.command(&["logs", "--tail", "40"]).status();
        }
        let _ = self.command(&["down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5"]).output();
    }
}

pub(super) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("the docker command can be started");
    assert_success(args, &output).trim().to_owned()
}

fn assert_success(args: &[&str], output: &Output) -> String {
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("docker prints text")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}
