use poem::http::StatusCode;

/// What is known about a kind of problem.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The kind's name in the path of its page.
    pub slug: &'static str,
    /// The kind in a few words.
    pub title: &'static str,
    /// The status of its answers.
    pub status: StatusCode,
    /// What happened.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// An example of its `detail`.
    pub example: &'static str,
}

/// Makes [`Kind`] from a table: name, status, slug, title, and the texts of its page.
macro_rules! kinds {
    ($($kind:ident $status:ident $slug:literal $title:literal {
        meaning $meaning:literal remedy $remedy:literal example $example:literal
    })*) => {
        /// A kind of problem, as its `type` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $title] $kind,)*
        }

        // No failure can be answered as a success.
        $(const _: () = assert!(StatusCode::$status.as_u16() >= 400);)*

        impl Kind {
            /// Every kind, by status.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// What is known about it.
            #[must_use]
            pub const fn facts(self) -> Facts {
                match self {
                    $(Self::$kind => Facts {
                        slug: $slug,
                        title: $title,
                        status: StatusCode::$status,
                        meaning: $meaning,
                        remedy: $remedy,
                        example: $example,
                    },)*
                }
            }
        }
    };
}

impl Kind {
    /// The kind with this name.
    pub(crate) fn of_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.facts().slug == slug)
    }

    /// The kind's URI reference: the path of its page.
    #[must_use]
    pub fn uri(self) -> String {
        format!("/problems/{}", self.facts().slug)
    }
}

kinds! {
    MalformedRequest BAD_REQUEST "malformed-request" "The head of the request is malformed" {
        meaning "HTTP/1.1 requires exactly one header Host with the name of a host (RFC 9112, section 3.2), and the \
                 request does not have one. Nothing was changed, and the connection is closed."
        remedy "Use an HTTP library: they all send the header."
        example "The head of the request must have exactly one header Host, with the name of a host."
    }
    MalformedBody BAD_REQUEST "malformed-body" "The body is not JSON" {
        meaning "The body could not be read as one JSON text in UTF-8 without a byte order mark (RFC 8259), or it \
                 ended too early. Nothing was changed."
        remedy "Fix the body at the line and column that the detail names, or encode it as the detail says. JSON \
                libraries do not make such mistakes, but text that was put together by hand, or saved by an editor, \
                often has them."
        example "The body must be a JSON object: EOF while parsing an object at line 1 column 14."
    }
    InvalidParameter BAD_REQUEST "invalid-parameter" "A parameter is invalid" {
        meaning "A parameter in the path, the query or a header has an invalid value, is given twice, or is unknown \
                 to this operation. An unknown name is rejected because it may be misspelt: the server would then \
                 answer another question than the one you meant."
        remedy "The detail names the parameter. Look it up at /docs and send the request again."
        example "The parameter `limit` must be an integer from 1 to 200."
    }
    InvalidCursor BAD_REQUEST "invalid-cursor" "The cursor is invalid" {
        meaning "The cursor does not come from this list with these filters. A cursor is opaque: it cannot be \
                 changed, or used with other filters."
        remedy "Start again without a cursor, and pass each page's cursor unchanged to get the next page."
        example "The parameter `cursor` does not come from this list with these filters."
    }
    IdempotencyKeyInvalid BAD_REQUEST "idempotency-key-invalid" "The Idempotency-Key is invalid" {
        meaning "The header Idempotency-Key must appear once and have 1 to 255 printable ASCII characters: in double \
                 quotes, or bare, without spaces, quotes and commas. Nothing was changed."
        remedy "Send another key, such as a new UUID."
        example "The header `Idempotency-Key` must appear once."
    }
    UnsupportedHeader BAD_REQUEST "unsupported-header" "The operation does not support this header" {
        meaning "The request has a header that changes its meaning, and this operation cannot do what the header \
                 asks: a condition (`If-Match`, `If-Unmodified-Since`, or `If-None-Match` on a request for a \
                 change), an `Idempotency-Key` where none is needed, the range of a body (`Content-Range`), or an \
                 expectation other than `100-continue`. If the server ignored the header, the client would rely on \
                 something that does not happen. Nothing was changed."
        remedy "Send the request without the header. Canceling, pausing and resuming need no key: repeating them \
                changes nothing. A second retry is rejected unless the order has failed again."
        example "This operation does not support the header `If-Match`. Nothing was changed."
    }
    UnexpectedBody BAD_REQUEST "unexpected-body" "The operation takes no body" {
        meaning "The request has a body, but this operation does not read one. If the server ignored it, whatever \
                 the client wanted to say with it would be lost. An empty body is accepted. Nothing was changed."
        remedy "Send the request without its body. The page /docs shows what each operation takes."
        example "This operation takes no body. Nothing was changed."
    }
    CrossOrigin FORBIDDEN "cross-origin" "A page of another origin requests a change" {
        meaning "A browser sent this request for a page that is not part of this server: its header Sec-Fetch-Site \
                 says so, or Origin if that is missing. Visitors of such a page may not know what it requests in \
                 their name, so it cannot change anything. Nothing was changed."
        remedy "Send the request from a page of this server, such as /docs, or from a program that is not a browser. \
                A proxy in front of this server must pass the headers Host and Origin on unchanged."
        example "A page of another origin requests this change. Nothing was changed."
    }
    UnknownHost FORBIDDEN "unknown-host" "The server does not have this name" {
        meaning "The server serves only its own machine, and the header Host names another one. Otherwise a page \
                 could make its own name lead to your machine (DNS rebinding), and pass for a page of this server."
        remedy "Use localhost, or have the server's administrator add the name to API_ALLOWED_HOSTS."
        example "This server does not have the name `orders.example`. It serves only its own machine; \
                 API_ALLOWED_HOSTS can list other names."
    }
    NoSuchOrder NOT_FOUND "no-such-order" "There is no such order" {
        meaning "No order has the id in the path. Orders are never deleted, so there has never been one in this \
                 database."
        remedy "Check the id, and whether the order was placed in this deployment."
        example "There is no order with this id."
    }
    NotFound NOT_FOUND "not-found" "There is nothing at this path" {
        meaning "No operation has this path."
        remedy "All paths are listed at /docs, and for programs in /openapi.json."
        example "There is nothing at this path. GET /docs lists all paths."
    }
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed" "The path does not have this method" {
        meaning "The path exists, but not with this method. The header Allow lists its methods. Nothing was changed."
        remedy "Use one of the methods in Allow."
        example "This path does not have this method. It has GET, HEAD."
    }
    NotAcceptable NOT_ACCEPTABLE "not-acceptable" "No form of the answer is acceptable" {
        meaning "The header Accept excludes every media type that this operation answers with. The operation was not \
                 carried out."
        remedy "Accept one of the types that the detail names, or send no Accept at all."
        example "This operation answers with application/json."
    }
    BodyTooSlow REQUEST_TIMEOUT "body-too-slow" "The body took too long" {
        meaning "The body did not arrive in time. Nothing was changed."
        remedy "Send the request again, with the whole body at once. If you did send all of it, check that the \
                header Content-Length has the body's length."
        example "The body did not arrive within 10 seconds."
    }
    OrderStatusConflict CONFLICT "order-status-conflict" "The order's status does not allow this" {
        meaning "Only a PENDING order can be canceled, and only a FAILED order can be retried. The member \
                 `order_status` has the order's status. Nothing was changed."
        remedy "Read the order. While it is PROCESSING it can be neither canceled nor retried; once it is COMPLETED \
                or CANCELED it stays so."
        example "Only a PENDING order can be canceled; this one is COMPLETED."
    }
    OrderIsPoison CONFLICT "order-is-poison" "The order is poison" {
        meaning "Three workers were lost, one after the other, while they worked on this order, so it is FAILED. A \
                 retry may cost three more. Nothing was changed."
        remedy "Find out why the workers died: the order's events name them, and their logs may say why. Then send \
                `{\"force\": true}` with the retry."
        example "This order is poison: 3 workers were lost while they worked on it. Send {\"force\": true} to retry \
                 it anyway."
    }
    ExternalIdTaken CONFLICT "external-id-taken" "The external id is taken" {
        meaning "There is already an order with this `external_id`. The member `order_id` names it. Nothing was \
                 changed."
        remedy "If it is the order that you wanted to place, you are done. Otherwise use another external id: each \
                stays unique for ever."
        example "There is already an order with this external_id."
    }
    RequestInProgress CONFLICT "request-in-progress" "Another request with this key is in progress" {
        meaning "Another unfinished request has the same Idempotency-Key or the same `external_id`, perhaps an \
                 earlier attempt of this one. This request waited for it for some seconds and gave up. The other one \
                 may still take effect."
        remedy "Send the same request again after the seconds in Retry-After. By then the other one should be done. \
                With the same key you get its answer; with only the same `external_id` you may be told that the id \
                is taken, and by which order. If it had no effect, your request is carried out."
        example "Another request with this key or external id is not done yet. Try again."
    }
    BodyTooLarge PAYLOAD_TOO_LARGE "body-too-large" "The body is too large" {
        meaning "The body has more bytes than this operation, or the database, accepts. Nothing was changed."
        remedy "Send less at once; the detail has the limit."
        example "The body must be at most 65536 bytes."
    }
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The body has the wrong media type" {
        meaning "The body must be JSON, declared as JSON, and not compressed. Nothing was changed."
        remedy "Send `Content-Type: application/json`, and no Content-Encoding."
        example "The body must be JSON: send `Content-Type: application/json`."
    }
    InvalidBody UNPROCESSABLE_ENTITY "invalid-body" "The body is invalid" {
        meaning "The body is JSON, but its content breaks the rules. The member `errors` lists up to 50 faults: \
                 where each one is (`pointer`, a JSON Pointer of RFC 6901), a `code` for programs and a `detail` for \
                 people. Nothing was changed."
        remedy "Fix every fault in `errors` and send the request again."
        example "/user_id must be at least 1; 1 more in `errors`"
    }
    IdempotencyKeyReused UNPROCESSABLE_ENTITY "idempotency-key-reused" "Another request used this Idempotency-Key" {
        meaning "An earlier request used this Idempotency-Key with another body, or for another operation. This \
                 request changed nothing."
        remedy "To repeat a request, send the same body. For a new request, use a new key."
        example "This Idempotency-Key was used with another body, or for another operation. Nothing was placed. Send \
                 the original request again, or use a new key."
    }
    InternalError INTERNAL_SERVER_ERROR "internal-error" "Something went wrong in the server" {
        meaning "This server has a fault. Its log has the cause, under the `request_id`. The request may or may not \
                 have taken effect."
        remedy "Give the `request_id` to the people who run the server. Repeating the request is unlikely to help."
        example "Something went wrong in the server. Its log has the cause."
    }
    UnsupportedTransferCoding NOT_IMPLEMENTED "unsupported-transfer-coding" "The transfer coding is not supported" {
        meaning "The header Transfer-Encoding names something other than `chunked`, so the server cannot read the \
                 body (RFC 9112, section 6.1). Nothing was changed, and the connection is closed."
        remedy "Send the body unencoded, with a Content-Length or with a single `Transfer-Encoding: chunked`."
        example "The only supported transfer coding is `chunked`."
    }
    NotReady SERVICE_UNAVAILABLE "not-ready" "The process is not ready" {
        meaning "This process should get no requests for now: the database is away, its schema does not match this \
                 program, or the process is about to end. The detail says which."
        remedy "Send requests to another process, and check this one again later. If the schema is the reason, run \
                `orders-api migrate`."
        example "the database is away"
    }
    DatabaseAway SERVICE_UNAVAILABLE "database-away" "The database is away" {
        meaning "The database does not answer, or cannot take the request for the moment. A request that only reads \
                 had no effect. A request that creates or changes something is not confirmed: it may have taken \
                 effect, or may do so yet, if the database has it and only its answer was lost."
        remedy "Try again after the seconds in Retry-After, and wait longer each time. To create something only \
                once, repeat the request with the same Idempotency-Key."
        example "The database is away. Try again."
    }
    Overloaded SERVICE_UNAVAILABLE "overloaded" "The server is overloaded" {
        meaning "The server has too much to do, and turned this request away before it had any effect."
        remedy "Try again after the seconds in Retry-After, and wait longer each time."
        example "Too many requests are being answered. Try again."
    }
    TimedOut SERVICE_UNAVAILABLE "timed-out" "The answer took too long" {
        meaning "The server gave up on the request. A request that creates or changes something may have taken \
                 effect, or may do so yet."
        remedy "Find out whether it took effect, or repeat it with the same Idempotency-Key. A request that only \
                reads can be repeated at once."
        example "There was no answer within 40 seconds. The request may still take effect."
    }
}
