use poem::http::StatusCode;
use poem::web::Path;
use poem::{Error, Response, Result, Route, get, handler};

use super::kind::{Facts, Kind};
use super::problem::Problem;

/// The pages: a list, and one for each kind.
pub(crate) fn pages() -> Route {
    Route::new().at("/", get(list)).at("/:slug", get(page))
}

#[handler]
fn list() -> Response {
    let row = |kind: Kind| {
        let Facts { title, status, .. } = kind.facts();
        format!("<tr><td>{}</td><td><a href=\"{}\">{title}</a></td></tr>", status.as_u16(), kind.uri())
    };
    let rows = Kind::ALL.iter().copied().map(row).collect::<Vec<_>>().join("\n");
    let introduction = "<p>The API answers every failure with a problem document (<a \
                        href=\"https://www.rfc-editor.org/rfc/rfc9457\">RFC 9457</a>). Its <code>type</code> is the \
                        path of one of these pages.</p>";
    let body = format!("{introduction}\n<table>\n<tr><th>status</th><th>problem</th></tr>\n{rows}\n</table>");
    html("Problems", &body)
}

#[handler]
fn page(Path(slug): Path<String>) -> Result<Response> {
    let Some(kind) = Kind::of_slug(&slug) else {
        return Err(Error::from(Problem::new(
            Kind::NotFound,
            "There is no such kind of problem. GET /problems lists them.",
        )));
    };
    let Facts { title, status, meaning, remedy, .. } = kind.facts();
    let body = format!(
        "<p><a href=\"/problems\">Problems</a> · status {} {}</p>\n<h2>What it means</h2>\n<p>{}</p>\n<h2>What to \
         do</h2>\n<p>{}</p>\n<h2>Example</h2>\n<pre>{}</pre>",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        with_code(meaning),
        with_code(remedy),
        escaped(&example(kind)),
    );
    Ok(html(title, &body))
}

/// An answer of this kind, as it is sent.
fn example(kind: Kind) -> String {
    let problem = Problem::example_of(kind);
    let body = serde_json::to_string_pretty(&problem).unwrap_or_default();
    let status = kind.facts().status;
    format!("HTTP/1.1 {status}\ncontent-type: application/problem+json\n\n{body}")
}

fn html(title: &str, body: &str) -> Response {
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>body{{max-width:45em;margin:2em auto;padding:0 \
         1em;font:1em/1.5 sans-serif}}pre{{overflow-x:auto;padding:1em;background:#f4f4f4;color:#111}}th{{text-align:left}}\
         td,th{{padding-right:1em}}</style>\n<h1>{title}</h1>\n{body}\n</html>\n"
    );
    Response::builder().status(StatusCode::OK).content_type("text/html; charset=utf-8").body(text)
}

/// A text as HTML, with the parts between backticks as code.
fn with_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) }).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
