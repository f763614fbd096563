use poem::http::StatusCode;

/// What is to be said of a kind of problem.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The kind's name in its page's path.
    pub slug: &'static str,
    /// The kind in a few words.
    pub title: &'static str,
    /// The status of its answers.
    pub status: StatusCode,
    /// What has happened.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// A `detail` such as it has.
    pub example: &'static str,
}

/// Makes [`Kind`] of a table: name, status, slug, title, and what its page says.
macro_rules! kinds {
    ($($kind:ident $status:ident $slug:literal $title:literal {
        meaning $meaning:literal remedy $remedy:literal example $example:literal
    })*) => {
        /// A kind of problem, as its `type` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $title] $kind,)*
        }

        impl Kind {
            /// Every kind, by status.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// What is to be said of it.
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
    MalformedRequest BAD_REQUEST "malformed-request" "The head is not one of HTTP" {
        meaning "The request has not exactly one header Host with the name of a host, as HTTP/1.1 asks (RFC 9112, \
                 section 3.2). Nothing was changed, and the connection is closed."
        remedy "Use an HTTP library: each sends the header."
        example "The head of the request must have exactly one header Host, with the name of a host."
    }
    MalformedBody BAD_REQUEST "malformed-body" "The body is not JSON" {
        meaning "The body could not be read as one JSON text in UTF-8 without a byte order mark (RFC 8259), or it \
                 ended too early. Nothing was changed."
        remedy "Mend the body at the line and column that the detail names, or encode it as the detail says. A JSON \
                library writes none of these faults; text that was put together by hand, or saved by an editor, \
                often has them."
        example "The body must be a JSON object: EOF while parsing an object at line 1 column 14."
    }
    InvalidParameter BAD_REQUEST "invalid-parameter" "A parameter is invalid" {
        meaning "A parameter in the path, the query or a header has a value that it cannot have, is given twice, or \
                 is one that this operation does not have. A misspelt name is refused, since to ignore it would \
                 answer another question than the one that was asked."
        remedy "The detail names the parameter. Look it up at /docs and send the request again."
        example "The parameter `limit` must be an integer from 1 to 200."
    }
    InvalidCursor BAD_REQUEST "invalid-cursor" "The cursor is invalid" {
        meaning "The cursor does not come from this list with these filters. A cursor is opaque: \
                 it cannot be changed, or used with other filters."
        remedy "Begin again without a cursor, and ask for the next page with the cursor as it is given."
        example "The parameter `cursor` does not come from this list with these filters."
    }
    IdempotencyKeyInvalid BAD_REQUEST "idempotency-key-invalid" "The Idempotency-Key is invalid" {
        meaning "The header Idempotency-Key must be given once, with 1 to 255 visible ASCII characters, quoted or \
                 bare. Nothing was changed."
        remedy "Send another key. A fresh UUID is a good one."
        example "The header Idempotency-Key must have 1 to 255 characters."
    }
    UnsupportedHeader BAD_REQUEST "unsupported-header" "The operation does not take this header" {
        meaning "The request has a header that changes what it means, and this operation cannot do what the header \
                 asks: a condition (`If-Match`, `If-Unmodified-Since`, or `If-None-Match` on a request for a \
                 change), an `Idempotency-Key` where none is needed, the range of a body (`Content-Range`), or an \
                 expectation other than `100-continue`. If the server ignored it, the client would rely on something \
                 that does not happen. Nothing was changed."
        remedy "Send the request without the header. Canceling, pausing and resuming need no key: doing it again \
                changes nothing. A second retry is refused unless the order has failed again."
        example "This operation does not take the header `If-Match`. Nothing was changed."
    }
    UnexpectedBody BAD_REQUEST "unexpected-body" "The operation takes no body" {
        meaning "The request has a body, and this operation reads none. If the server ignored it, what the client \
                 meant to say would be lost. An empty body counts as none. Nothing was changed."
        remedy "Send the request without its body. The page /docs shows what each operation takes."
        example "This operation takes no body. Nothing was changed."
    }
    CrossOrigin FORBIDDEN "cross-origin" "A page of another origin asks for a change" {
        meaning "A browser has sent this request for a page that is not this server's, as its header Sec-Fetch-Site \
                 tells, or Origin where there is none. Whoever visits such a page may not know what it asks for, so \
                 it may change nothing. Nothing was changed."
        remedy "Ask from a page of this server, such as /docs, or from a program that is no browser. Something in \
                front of this server must hand the headers Host and Origin on as they are."
        example "A page of another origin asks for this change. Nothing was changed."
    }
    UnknownHost FORBIDDEN "unknown-host" "The server does not have this name" {
        meaning "The server serves this machine alone, and the header Host names another one. A page can have its \
                 own name lead to your machine (DNS rebinding) and would then be taken for this server's."
        remedy "Use localhost, or have the server's administrator list the name in API_ALLOWED_HOSTS."
        example "This server is not `orders.example`: it serves this machine alone. API_ALLOWED_HOSTS lists other \
                 names for it."
    }
    NoSuchOrder NOT_FOUND "no-such-order" "There is no such order" {
        meaning "No order has the id in the path. Orders are never deleted, so there has never been one in this \
                 database."
        remedy "Check the id, and that you ask the deployment in which the order was placed."
        example "There is no order with this id."
    }
    NotFound NOT_FOUND "not-found" "There is nothing at this path" {
        meaning "No operation has this path."
        remedy "All paths are listed at /docs, and in /openapi.json for programs."
        example "There is nothing at this path. GET /docs shows what there is."
    }
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed" "The path has no such method" {
        meaning "The path exists, and this method is not one of its methods. The header Allow lists those that are. \
                 Nothing was changed."
        remedy "Use one of the methods in Allow."
        example "This path has no such method. It has GET, HEAD."
    }
    NotAcceptable NOT_ACCEPTABLE "not-acceptable" "No form of the answer is acceptable" {
        meaning "The header Accept excludes every media type that this operation answers with. The operation was not \
                 carried out."
        remedy "Accept one of the types that the detail names, or send no Accept at all."
        example "This operation answers with application/json."
    }
    BodyTooSlow REQUEST_TIMEOUT "body-too-slow" "The body took too long" {
        meaning "The body did not arrive in time. Nothing was changed."
        remedy "Send the request again, with the whole body at once. If the body is complete, compare its length \
                with the header Content-Length."
        example "The body did not arrive within 10 seconds."
    }
    OrderStatusConflict CONFLICT "order-status-conflict" "The order's status does not allow this" {
        meaning "Only a PENDING order can be canceled, and only a FAILED one retried. The member `order_status` has \
                 the order's status; nothing was changed."
        remedy "Read the order. One that is PROCESSING can be neither canceled nor retried until it has ended; one \
                that is COMPLETED or CANCELED stays so."
        example "Only a PENDING order can be canceled; this one is COMPLETED."
    }
    OrderIsPoison CONFLICT "order-is-poison" "The order is poison" {
        meaning "Three workers were lost, one after the other, while they worked on this order, so that it is \
                 FAILED. To retry it may cost three more. Nothing was changed."
        remedy "Find out what the workers died of: their logs, and the order's story, name them. Then send \
                `{\"force\": true}` with the retry."
        example "This order is poison: 3 workers were lost while they worked on it. Send {\"force\": true} to retry \
                 it all the same."
    }
    ExternalIdTaken CONFLICT "external-id-taken" "The external id is taken" {
        meaning "An order with this `external_id` exists already. The member `order_id` names it. Nothing was \
                 changed."
        remedy "If that is the order that you meant to place, it is placed. Otherwise use another external id: each \
                is unique for ever."
        example "There is an order with this external_id already."
    }
    RequestInProgress CONFLICT "request-in-progress" "Another request with this key is in progress" {
        meaning "Another request, not done yet, uses the same Idempotency-Key or the same `external_id`. This one \
                 has waited for it for some seconds and gave up; the other one, which may be an earlier try of this \
                 one, may still take effect."
        remedy "Send the same request again after the seconds in Retry-After: once the other one is done, it is \
                carried out, or gets that one's answer where it has the same key; with an `external_id` alone it may \
                be told that the id is taken, and by which order."
        example "Another request with this key or external id is not done yet. Try again."
    }
    BodyTooLarge PAYLOAD_TOO_LARGE "body-too-large" "The body is too large" {
        meaning "The body has more bytes than this operation reads. Nothing was changed."
        remedy "Send fewer things at once; the detail has the limit."
        example "The body must be at most 65536 bytes."
    }
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The body has the wrong media type" {
        meaning "Bodies must be JSON, declared as such, and not compressed. Nothing was changed."
        remedy "Send `Content-Type: application/json`, and no Content-Encoding."
        example "The body must be JSON: send `Content-Type: application/json`."
    }
    InvalidBody UNPROCESSABLE_ENTITY "invalid-body" "The body is invalid" {
        meaning "The body is JSON, and its content is not what it must be. The member `errors` lists the faults, all \
                 at once up to 50: where each one is (`pointer`, a JSON Pointer of RFC 6901), a `code` for programs \
                 and a `detail` for people. Nothing was changed."
        remedy "Mend every fault in `errors` and send the request again."
        example "/user_id must be at least 1; 1 more in `errors`"
    }
    IdempotencyKeyReused UNPROCESSABLE_ENTITY "idempotency-key-reused" "The Idempotency-Key was used for another request" {
        meaning "The header Idempotency-Key has been sent before, with another body or to another operation. Nothing \
                 was changed by this request."
        remedy "To repeat a request, send the same body. For another request make another key."
        example "This Idempotency-Key was sent before with another body, or to another operation. Nothing was \
                 placed: send the request as it was, or with a new key."
    }
    InternalError INTERNAL_SERVER_ERROR "internal-error" "Something went wrong here" {
        meaning "A fault of this server. Its cause is in the log, under the `request_id`. Whether the request took \
                 effect is not known."
        remedy "Tell whoever runs the server the `request_id`. Repeating the request is unlikely to help."
        example "Something went wrong here. It has been logged."
    }
    UnsupportedTransferCoding NOT_IMPLEMENTED "unsupported-transfer-coding" "The transfer coding is not supported" {
        meaning "The header Transfer-Encoding names something other than `chunked`, so that the body cannot be read \
                 (RFC 9112, section 6.1). Nothing was changed, and the connection is closed."
        remedy "Send the body as it is, with a Content-Length or with `Transfer-Encoding: chunked`, once."
        example "The only transfer coding of a request's body is `chunked`."
    }
    NotReady SERVICE_UNAVAILABLE "not-ready" "The process is not ready" {
        meaning "This process should be sent no requests for now: the database is away, its schema is not this \
                 program's, or the process is about to end. The detail says which."
        remedy "Send requests to another process, and ask again. If the schema is the reason, run `orders-api \
                migrate`."
        example "the database is away"
    }
    DatabaseAway SERVICE_UNAVAILABLE "database-away" "The database is away" {
        meaning "The database does not answer, or refuses for the moment. A request that only reads has no effect. \
                 One that creates or changes something is not confirmed: it may have taken effect, or may do so yet, \
                 if the database has it and only the answer did not come."
        remedy "Try again after the seconds in Retry-After, and wait longer each time. To create something once, \
                repeat the request with the same Idempotency-Key."
        example "The database is away. Try again."
    }
    Overloaded SERVICE_UNAVAILABLE "overloaded" "Too much at once" {
        meaning "The server has as much to do as it can bear, and turned this request away before it had any effect."
        remedy "Try again after the seconds in Retry-After, and wait longer each time."
        example "Too many requests are being answered. Try again."
    }
    TimedOut SERVICE_UNAVAILABLE "timed-out" "The answer took too long" {
        meaning "The server gave the request up. One that creates or changes something may have taken effect, or may \
                 do so yet."
        remedy "Find out whether it has, or repeat it with the same Idempotency-Key. A request that only reads can \
                be repeated at once."
        example "There was no answer within 40 seconds. The request may take effect all the same."
    }
}
