//! A server of a test's own as a process of the installed program.

use std::fs::{self, DirBuilder, File};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::installed::Installed;
use super::runner::{Extras, Runner};
use crate::folder::fresh_path;
use crate::own_address::{IMPATIENT_RESOLVER, own_address};
use crate::program::{free_port, show, stop};

/// The server writes its dirty pages before it goes.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// As durable as the servers of production, which is MySQL's default and needs to be said to MariaDB.
const DURABLE: [&str; 4] =
    ["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1", "--log-bin=binlog", "--server-id=1"];

/// A server on a port of this machine, with its data in a folder that is removed with it.
#[derive(Debug)]
pub(super) struct ServerProcess {
    folder: PathBuf,
    address: SocketAddr,
    command: Mutex<Command>,
    child: Mutex<Child>,
}

impl ServerProcess {
    pub(super) fn start(program: &Installed, password: &str, extras: &Extras<'_>) -> Self {
        let folder = new_folder();
        program.initialise(&folder);
        let setup = folder.join("setup.sql");
        fs::write(&setup, root_by_network(password)).expect("the folder can be written to");
        let address = SocketAddr::new(own_address(), free_port());
        let mut command = program.command();
        command
            .arg(format!("--datadir={}", folder.join("data").display()))
            // In the common one, a server that starts removes the files of those that run.
            .arg(format!("--tmpdir={}", folder.display()))
            // Relative to the data: a socket's path has 107 bytes at most.
            .args(["--socket=server.sock", "--pid-file=server.pid"])
            .arg(format!("--bind-address={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--init-file={}", setup.display()))
            .args(DURABLE)
            .arg(if program.is_mariadb { "--binlog-format=ROW" } else { "--mysqlx=OFF" })
            .args(extras.args)
            .envs([IMPATIENT_RESOLVER])
            .envs(extras.env.iter().map(|(name, value)| (name, value)));
        let child = spawn(&mut command, &folder);
        Self { folder, address, command: Mutex::new(command), child: Mutex::new(child) }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner for ServerProcess {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }

    fn kill(&self) {
        let mut child = self.child();
        child.kill().and_then(|()| child.wait()).expect("the server can be killed");
    }

    fn stop(&self) {
        let mut child = self.child();
        signal(&child, Signal::TERM);
        let started = Instant::now();
        while child.try_wait().expect("a child can be waited for").is_none() {
            assert!(started.elapsed() < STOP_LIMIT, "the server has not stopped within {STOP_LIMIT:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn start_again(&self) {
        let mut command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        *self.child() = spawn(&mut command, &self.folder);
    }

    fn freeze(&self) {
        stop(&self.child());
    }

    fn thaw(&self) {
        signal(&self.child(), Signal::CONT);
    }

    fn assert_runs(&self) {
        let ended = self.child().try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "the server has ended: {ended:?}");
    }
}

impl Drop for ServerProcess {
    /// Never panics: a second panic would hide the first.
    fn drop(&mut self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
        if thread::panicking() {
            show("the test's own server", &fs::read_to_string(self.folder.join("log")).unwrap_or_default());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// In the folder of the test run, which is removed with the run whatever becomes of the test.
fn new_folder() -> PathBuf {
    let folder = fresh_path("own-server");
    DirBuilder::new().mode(0o700).create(&folder).expect("a folder can be made");
    folder
}

/// SQL that the server runs at each start, before it takes connections.
fn root_by_network(password: &str) -> String {
    format!(
        "create user if not exists 'root'@'%' identified by '{password}';\n\
         grant all on *.* to 'root'@'%' with grant option;\n"
    )
}

fn spawn(command: &mut Command, folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("the folder can be written to");
    let same_log = log.try_clone().expect("an open file can be shared");
    command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(same_log)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the server runs");
}
