//! A stranger at one address who carries out, all at once, every attack that has ever hurt the programs.

mod attack;
mod client;
mod targets;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::attack::Attack;
use self::client::Client;
pub use self::targets::Targets;

/// A stranger at work, on a thread of its own: it is another machine to the clients beside it. It stops by itself, and
/// dropping it stops it at once, with all its connections.
#[derive(Debug)]
pub struct Stranger {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    turns: Vec<(Attack, Arc<AtomicU64>)>,
}

impl Stranger {
    /// Begins, and stops after `during`. Raises the process's soft limit of descriptors to the hard one: each
    /// connection has one.
    ///
    /// # Errors
    /// If the system cannot give it a thread or a poll.
    pub fn start(targets: Targets, during: Duration) -> io::Result<Self> {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let turns: Vec<_> = Attack::ALL.map(|attack| (attack, Arc::default())).into();
        let (stop, stopped) = oneshot::channel::<()>();
        let clients = turns.clone();
        let thread = thread::Builder::new().name("stranger".to_owned()).spawn(move || {
            runtime.block_on(async {
                for (attack, turns) in &clients {
                    for number in 0..attack.clients() {
                        let client = Client::new(*attack, targets, Arc::clone(turns));
                        tokio::spawn(client.attack_again_and_again(number, attack.begins_after(during)));
                    }
                }
                // Told to stop, or at the deadline: all that was spawned ends with the runtime.
                let _ = timeout(during, stopped).await;
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), turns })
    }

    /// Stops, and returns how often each attack got through to its program.
    #[must_use]
    pub fn stop(mut self) -> Vec<(String, u64)> {
        self.end_thread();
        self.turns.iter().map(|(attack, turns)| (format!("{attack:?}"), turns.load(Ordering::Relaxed))).collect()
    }

    fn end_thread(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, its counts show it.
            let _ = thread.join();
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.end_thread();
    }
}
