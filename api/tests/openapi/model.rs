//! The parts of an OpenAPI document that are worked on. Reading fails for anything unknown, so that nothing is lost.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) openapi: String,
    pub(super) info: IndexMap<String, Value>,
    pub(super) servers: Vec<Value>,
    pub(super) tags: Vec<Value>,
    /// Operations by path and method.
    #[serde(deserialize_with = "with_each_path_once")]
    pub(super) paths: Paths,
    pub(super) components: Components,
}

pub(super) type Paths = IndexMap<String, IndexMap<String, Operation>>;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Components {
    pub(super) schemas: IndexMap<String, Value>,
    #[serde(default)]
    pub(super) parameters: IndexMap<String, Parameter>,
    #[serde(default)]
    pub(super) headers: IndexMap<String, Header>,
    #[serde(default)]
    pub(super) examples: IndexMap<String, Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Operation {
    #[serde(rename = "operationId")]
    pub(super) id: String,
    pub(super) tags: Vec<String>,
    pub(super) summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) parameters: Vec<Referable<Parameter>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request_body: Option<RequestBody>,
    pub(super) responses: IndexMap<String, Response>,
}

/// A thing, or a reference to one of the components.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Referable<T> {
    Reference {
        #[serde(rename = "$ref")]
        reference: String,
    },
    Here(T),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) r#in: String,
    pub(super) description: String,
    pub(super) required: bool,
    pub(super) schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) example: Option<Value>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deprecated: bool,
    /// Matters only for parameters that are arrays or objects.
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "read to be left out")]
    explode: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    pub(super) content: IndexMap<String, Content>,
    required: bool,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    pub(super) description: String,
    #[serde(default)]
    pub(super) headers: IndexMap<String, Referable<Header>>,
    #[serde(default)]
    pub(super) content: IndexMap<String, Content>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(super) links: IndexMap<String, Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    pub(super) schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) example: Option<Value>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(super) examples: IndexMap<String, Referable<Value>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) description: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) required: bool,
    pub(super) schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) example: Option<Value>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deprecated: bool,
}

/// Reads the paths. The library writes a path several times if operations of several structs share it, each time with
/// some of the methods; most programs would see only the last of them.
fn with_each_path_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Paths, D::Error> {
    struct Merge;

    impl<'de> Visitor<'de> for Merge {
        type Value = Paths;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("paths")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Paths, A::Error> {
            let mut paths = Paths::new();
            while let Some((path, methods)) = map.next_entry::<String, IndexMap<String, Operation>>()? {
                paths.entry(path).or_default().extend(methods);
            }
            Ok(paths)
        }
    }

    deserializer.deserialize_map(Merge)
}

impl Model {
    /// All operations.
    pub(super) fn operations(&mut self) -> impl Iterator<Item = &mut Operation> {
        self.paths.values_mut().flat_map(IndexMap::values_mut)
    }

    /// All schemas that are not part of another schema, wherever they are.
    pub(super) fn schemas(&mut self) -> impl Iterator<Item = &mut Value> {
        let Self { paths, components: Components { schemas, parameters, headers, .. }, .. } = self;
        let of_operations = paths.values_mut().flat_map(IndexMap::values_mut).flat_map(Operation::schemas);
        let of_parameters = parameters.values_mut().map(|parameter| &mut parameter.schema);
        let of_headers = headers.values_mut().map(|header| &mut header.schema);
        of_operations.chain(schemas.values_mut()).chain(of_parameters).chain(of_headers)
    }
}

impl Parameter {
    /// A header that may have any value.
    pub(super) fn header(name: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            r#in: "header".to_owned(),
            description: description.to_owned(),
            required: false,
            schema: json!({"type": "string"}),
            example: None,
            deprecated: false,
            explode: false,
        }
    }
}

impl Header {
    /// A header that is always there.
    pub(super) fn always(description: &str, schema: Value, example: Value) -> Self {
        let description = description.to_owned();
        Self { description, required: true, schema, example: Some(example), deprecated: false }
    }

    /// A header that is there only for some causes of the answer.
    pub(super) fn at_times(description: &str, schema: Value, example: Value) -> Self {
        Self { required: false, ..Self::always(description, schema, example) }
    }
}

impl Operation {
    /// Whether it has a parameter of its own with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| matches!(parameter, Referable::Here(own) if own.name == name))
    }

    fn schemas(&mut self) -> impl Iterator<Item = &mut Value> {
        let asked = self.request_body.iter_mut().flat_map(|body| body.content.values_mut());
        let parameters = self.parameters.iter_mut().filter_map(Referable::here);
        let answered = self.responses.values_mut().flat_map(Response::schemas);
        asked
            .map(|content| &mut content.schema)
            .chain(parameters.map(|parameter| &mut parameter.schema))
            .chain(answered)
    }
}

impl Response {
    fn schemas(&mut self) -> impl Iterator<Item = &mut Value> {
        let headers = self.headers.values_mut().filter_map(Referable::here);
        self.content.values_mut().map(|content| &mut content.schema).chain(headers.map(|header| &mut header.schema))
    }
}

impl<T> Referable<T> {
    /// The thing `name` of one kind of component, such as `headers`.
    pub(super) fn component(kind: &str, name: &str) -> Self {
        Self::Reference { reference: format!("#/components/{kind}/{name}") }
    }

    pub(super) fn here(&mut self) -> Option<&mut T> {
        match self {
            Self::Here(thing) => Some(thing),
            Self::Reference { .. } => None,
        }
    }
}
