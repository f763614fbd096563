//! `orders-api doctor`: a verdict a line.

use std::io::{self, Write};

use orders_shared::store::{Store, Verdict};

/// Checks the database and writes what was found. `false` when a check failed.
///
/// # Errors
///
/// When the output cannot be written.
pub async fn doctor(store: &Store, output: &mut impl Write) -> io::Result<bool> {
    let findings = store.diagnose().await;
    for finding in &findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "WARN",
            Verdict::Failed => "FAIL",
        };
        writeln!(output, "{verdict:<5} {}: {}", finding.check, finding.detail)?;
    }
    Ok(findings.iter().all(|finding| finding.verdict != Verdict::Failed))
}
