//! The commands that docs/RUNBOOK.md prints, so that the tests run what an operator types.

use std::pin::pin;
use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

const RUNBOOK: &str = include_str!("../../../../docs/RUNBOOK.md");

/// The commands printed under a heading in the block that has this program.
pub(crate) fn printed(heading: &str, program: &str) -> &'static str {
    let (_, section) = RUNBOOK.split_once(&format!("\n### {heading}\n")).expect("the document has the heading");
    let section = section.split("\n#").next().expect("a section has an end");
    let blocks = section.split("```console\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let mut blocks = blocks.map(|(commands, _)| commands).filter(|block| has(block, program));
    let commands = blocks.next().expect("the section prints commands of the program");
    assert_eq!(blocks.next(), None, "{heading} prints two blocks of {program}");
    commands
}

fn has(block: &str, program: &str) -> bool {
    block.lines().any(|line| line.starts_with(program))
}

/// Runs what somebody types, and returns what it prints.
pub(crate) async fn typed(mut shell: Command) -> String {
    let output = spawn_blocking(move || shell.stdin(Stdio::null()).output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Does `other` again and again until `work` is done.
pub(crate) async fn beside<T>(work: impl Future<Output = T>, other: impl AsyncFn()) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            output = &mut work => return output,
            () = other() => {}
        }
    }
}
