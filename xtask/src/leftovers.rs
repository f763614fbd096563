//! Programs that a killed run left behind. They keep running, and a database server among them still writes to its data
//! directory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use xtask::data_dir::{DataDir, OWNER_VARIABLE};
use xtask::interrupt::Interrupt;
use xtask::output::say;

/// Longer than the programs' own grace period of 25 s by default.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// Stops every program that an earlier owner of `data` started.
///
/// The holder of the folder's lock may do so: the earlier owner is dead. Without `/proc` nothing is found; the user
/// then hears of a taken port, or of the server's own lock on its data.
pub(crate) fn stop(data: &DataDir, interrupt: &Interrupt) -> Result<()> {
    let found = find(data.path());
    if found.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = found.iter().map(|(pid, name)| format!("{name} ({pid})")).collect();
    say(format_args!("== stopping what a killed run left behind: {}", names.join(", ")));
    for signal in [Signal::TERM, Signal::KILL] {
        for (pid, _) in &found {
            let _ = kill_process(*pid, signal);
        }
        let all_ended =
            interrupt.wait_for(STOP_LIMIT, || Ok(found.iter().all(|(pid, _)| !is_running(*pid)).then_some(())))?;
        if all_ended.is_some() {
            return Ok(());
        }
    }
    bail!("what a killed run left behind cannot be stopped: {}", names.join(", "))
}

/// The programs whose environment names `owner`, each with its name.
fn find(owner: &Path) -> Vec<(Pid, String)> {
    let mark = [OWNER_VARIABLE.as_bytes(), b"=", owner.as_os_str().as_encoded_bytes()].concat();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let marked = |folder: &Path| {
        // Another user's programs cannot be read, and are not ours.
        fs::read(folder.join("environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == mark))
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            if pid == rustix::process::getpid() || !marked(&entry.path()) {
                return None;
            }
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            Some((pid, name.trim().to_owned()))
        })
        .collect()
}

/// A zombie, which only its parent can clear away, counts as ended.
fn is_running(pid: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let is_zombie = state.is_ok_and(|text| text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
    test_kill_process(pid).is_ok() && !is_zombie
}
