//! Short commands that are run for their output.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;
use crate::process::Process;

/// What a short command said.
pub struct Answer {
    /// Whether the command succeeded.
    pub ok: bool,
    /// Its stdout, or its stderr if it failed, without the trailing newline.
    pub text: String,
}

impl Answer {
    /// The last line, in which most programs say why they failed.
    #[must_use]
    pub fn last_line(&self) -> &str {
        self.text.lines().last().unwrap_or("it said nothing").trim()
    }
}

/// Runs `command` to its end, for at most `limit`, and returns what it said.
///
/// # Errors
/// If the command cannot be started or takes too long, or the user interrupts.
pub fn ask(command: &mut Command, limit: Duration, interrupt: &Interrupt) -> Result<Answer> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut process = Process::start(&name, command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stdout = process.stdout().map(read_all);
    let stderr = process.stderr().map(read_all);
    let status = interrupt
        .wait_for(limit, || process.exit())?
        .with_context(|| format!("{name} gave no answer within {} s", limit.as_secs()))?;
    let [stdout, stderr] =
        [stdout, stderr].map(|reader| reader.and_then(|reader| reader.join().ok()).unwrap_or_default());
    let text = if status.success() || stderr.trim().is_empty() { stdout } else { stderr };
    Ok(Answer { ok: status.success(), text: text.trim_end().to_owned() })
}

fn read_all(mut source: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = source.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
