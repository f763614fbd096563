//! Generates the OpenAPI document: what poem-openapi derives from the code, and what it cannot express.
//!
//! The document is committed, and the program serves the committed files; the tests here compare them with the code.
//! Everything that is added to the draft follows from the operation itself (its body, its parameters), from constants
//! of the code, or from a table with a line for each operation. So a new operation needs little more than its example;
//! if something is missing, the build, a test here, or `cargo xtask contract`, which checks the result against the
//! running server, says so.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod examples;
mod headers;
mod limits;
mod model;
mod openapi_3_0;
mod operations;
mod refusals;
mod schemas;
mod service;

use std::path::Path;

use anyhow::Context;
use orders_api::document::{Kind, PROBLEM_JSON, draft};
use serde_json::{Value, json};

use self::model::{Model, Operation};

/// OpenAPI 3.0 cannot express nullable fields and exact limits as JSON Schema does.
const OPENAPI: &str = "3.1.0";

/// The tag of the first release's operations.
const FIRST_RELEASE: &str = "First release";

/// The environment variable that makes the test rewrite the committed documents.
const REWRITE: &str = "ORDERS_REWRITE_OPENAPI";

#[test]
fn the_committed_documents_are_the_generated_ones() {
    for (name, generated) in [("openapi.json", json_3_1()), ("openapi-3.0.json", json_3_0())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
        if std::env::var_os(REWRITE).is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        let differs =
            committed.lines().zip(generated.lines()).position(|(committed, generated)| committed != generated);
        assert!(
            committed == generated,
            "docs/{name} is out of date, first in line {}: {REWRITE}=1 cargo test -p orders-api --test openapi",
            1 + differs.unwrap_or_default(),
        );
    }
}

fn json_3_1() -> String {
    text(&completed(&draft()).unwrap())
}

fn json_3_0() -> String {
    let mut document = completed(&draft()).unwrap();
    openapi_3_0::retell(&mut document);
    text(&document)
}

fn text(document: &Model) -> String {
    serde_json::to_string_pretty(document).unwrap() + "\n"
}

fn completed(draft: &str) -> anyhow::Result<Model> {
    let mut document: Model = serde_json::from_str(draft).context("the draft of the document has another form")?;
    OPENAPI.clone_into(&mut document.openapi);
    document.servers = vec![json!({"url": "/"})];
    document.info.insert("description".to_owned(), include_str!("introduction.md").into());
    service::add(&mut document)?;
    schemas::mend(&mut document);
    operations::complete(&mut document)?;
    refusals::add(&mut document)?;
    headers::add(&mut document);
    put_first_release_last(&mut document);
    Ok(document)
}

/// New users should not start with operations that stay only for old clients.
fn put_first_release_last(document: &mut Model) {
    document.tags.sort_by_key(|tag| tag["name"] == FIRST_RELEASE);
    let is_old = |operation: &Operation| operation.tags.iter().any(|tag| tag == FIRST_RELEASE);
    document.paths.sort_by_cached_key(|_, methods| methods.values().any(is_old));
}

fn document() -> Value {
    serde_json::from_str(&json_3_1()).unwrap()
}

/// Every operation of the document, with its path and method.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
        .collect()
}

#[test]
fn every_operation_has_what_a_reader_looks_for() {
    let document = document();

    for (name, operation) in operations(&document) {
        for part in ["operationId", "summary"] {
            assert!(operation[part].as_str().is_some_and(|text| !text.is_empty()), "{name}: {part}");
        }
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{name}: one tag");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(status.parse::<u16>().is_ok(), "{name}: {status} is no status");
            assert!(response["headers"]["X-Request-Id"].is_object(), "{name} {status}: request id");
            let json = &response["content"]["application/json"];
            let is_told = json.is_null() || !json["example"].is_null() || name.starts_with("get /openapi");
            assert!(is_told, "{name} {status}: an example in examples.rs");
        }
        for parameter in operation["parameters"].as_array().unwrap() {
            let is_told = !parameter["example"].is_null();
            assert_eq!(parameter["required"] == true, is_told, "{name}: the example in examples.rs of {parameter}");
        }
    }
}

#[test]
fn every_kind_of_problem_belongs_to_an_operation_or_to_requests_that_reach_none() {
    let document = document();

    for kind in Kind::ALL {
        let facts = kind.facts();
        let is_answered = operations(&document).iter().any(|(_, operation)| {
            !operation["responses"][facts.status.as_str()]["content"][PROBLEM_JSON]["examples"][facts.slug].is_null()
        });
        let leads_nowhere =
            [Kind::UnknownHost, Kind::MethodNotAllowed, Kind::MalformedRequest, Kind::UnsupportedTransferCoding];
        assert!(is_answered != leads_nowhere.contains(kind), "{}", facts.slug);
    }
}

#[test]
fn operation_ids_are_unique() {
    let document = document();
    let mut ids: Vec<&str> =
        operations(&document).iter().map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();

    assert_eq!(ids.len(), all);
}

/// `place_order` or `First release`, as generators write it.
fn pascal(name: &str) -> String {
    let word = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split(['_', ' ']).map(word).collect()
}

/// The names that generators make up: from a schema (Go, TypeScript), from an operation (Go, Java, TypeScript), from a
/// tag, and for their own parts.
fn names_of_generators(document: &Value) -> Vec<String> {
    let schemas = document["components"]["schemas"].as_object().unwrap().keys();
    let of_schemas = schemas.flat_map(|schema| {
        ["New*", "New*WithDefaults", "Nullable*", "NewNullable*", "*FromJSON", "*ToJSON", "*Enum", "*Builder"]
            .map(|pattern| pattern.replace('*', schema))
    });
    let operations = operations(document);
    let of_operations = operations.iter().flat_map(|(_, operation)| {
        let id = pascal(operation["operationId"].as_str().unwrap());
        [
            "*Request",
            "Api*Request",
            "New*Request",
            "*Response",
            "*200Response",
            "*201Response",
            "*Params",
            "*Data",
            "*Error",
        ]
        .map(|pattern| pattern.replace('*', &id))
    });
    let tags = document["tags"].as_array().unwrap().iter();
    let of_tags = tags.flat_map(|tag| {
        let tag = pascal(tag["name"].as_str().unwrap());
        ["*Api", "*API", "*Service", "*APIService"].map(|pattern| pattern.replace('*', &tag))
    });
    let own = "ApiClient ApiError ApiException ApiResponse APIResponse AuthenticatedClient Client Configuration Error \
               Exception File JSON Model Object Option Pair Request Response Result Unset";
    of_schemas.chain(of_operations).chain(of_tags).chain(own.split(' ').map(str::to_owned)).collect()
}

#[test]
fn no_schema_has_a_name_that_a_generator_gives_to_something_else() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    // On some machines, files whose names differ only in letter case are one file.
    let taken: Vec<String> = names_of_generators(&document).iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut seen = Vec::new();

    for schema in schemas.keys().map(|schema| schema.to_ascii_lowercase()) {
        assert!(!taken.contains(&schema) && !seen.contains(&schema), "{schema}");
        seen.push(schema);
    }
}

#[test]
fn operations_that_stay_only_for_old_clients_come_last() {
    let document = document();
    let is_old: Vec<bool> = operations(&document).iter().map(|(_, one)| one["tags"][0] == FIRST_RELEASE).collect();

    assert_eq!(document["tags"].as_array().unwrap().last().unwrap()["name"], FIRST_RELEASE);
    assert!(is_old.is_sorted() && is_old.contains(&true), "{is_old:?}");
}

#[test]
fn the_document_does_not_end_the_script_that_contains_it() {
    assert_eq!(json_3_1().matches("</script").count(), 0);
}
