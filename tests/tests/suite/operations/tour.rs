//! The tour of docs/TOUR.md, taken as a reader takes it: every command is typed, and must be answered as printed.
//!
//! Needs curl; where it is missing, the test runner passes `--skip tour::`.

mod answer;

use std::process::Command;

use orders_tests::{Api, Worker, database};

use self::answer::Meanings;
use super::printed::typed;

const TOUR: &str = include_str!("../../../../docs/TOUR.md");

/// Where the API of the reader listens.
const PRINTED_ADDRESS: &str = "localhost:8000";

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_tour_is_answered_as_printed() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let _worker = Worker::start(&database.url, &[]).await;
    let steps = steps(TOUR);
    assert_eq!(steps.len(), TOUR.matches("\n$ ").count(), "a command is in no console block");

    let mut meanings = Meanings::default();
    for (command, printed) in steps {
        assert!(command.starts_with("curl ") && command.contains(PRINTED_ADDRESS), "not a request: {command}");
        let command = meanings.translated_command(command);
        let answer = typed(shell(&command.replace(PRINTED_ADDRESS, &api.address().to_string()))).await;

        let compared = meanings.compare(printed, &answer);

        assert_eq!(compared, Ok(()), "\n$ {command}\nprinted:\n{printed}\nanswered:\n{answer}");
    }
}

#[test]
fn a_command_ends_where_the_shell_would_run_it() {
    let text = "Text.\n```console\n$ curl 'a\n  b' \\\n  c\n{\n}\n$ curl d\n1\n```\n```console\ncargo run\n```\n";

    assert_eq!(steps(text), [("curl 'a\n  b' \\\n  c", "{\n}"), ("curl d", "1")]);
}

/// The commands that a document prints after a `$`, each with the answer that follows it.
fn steps(document: &str) -> Vec<(&str, &str)> {
    let blocks = document.split("```console\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let steps = blocks.filter_map(|block| block.strip_prefix("$ ")).flat_map(|block| block.split("\n$ "));
    steps
        .map(|step| step.split_at(command_length(step)))
        .map(|(command, answer)| (command, answer.trim_start()))
        .collect()
}

/// A command goes on after a line that ends with a backslash or within quotes.
fn command_length(step: &str) -> usize {
    let is_whole = |command: &str| !command.ends_with('\\') && command.matches('\'').count().is_multiple_of(2);
    let mut ends = step.match_indices('\n').map(|(end, _)| end);
    ends.find(|end| is_whole(&step[..*end])).unwrap_or(step.len())
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    // A proxy of the machine's does not know the test's API.
    shell.args(["-c", command]).env("no_proxy", "*");
    shell
}
