//! `orders-api doctor`: prints one finding per line.

use std::io::{self, Write};

use orders_shared::store::{Severity, Store};

/// Checks the database and writes the findings; `false` if a check failed.
///
/// # Errors
///
/// If the output cannot be written.
pub async fn doctor(store: &Store, output: &mut impl Write) -> io::Result<bool> {
    let findings = store.diagnose().await;
    for finding in &findings {
        let severity = match finding.severity {
            Severity::Ok => "ok",
            Severity::Warning => "WARN",
            Severity::Failed => "FAIL",
        };
        writeln!(output, "{severity:<5} {}: {}", finding.check, finding.detail)?;
    }
    Ok(findings.iter().all(|finding| finding.severity != Severity::Failed))
}
