"""What the document cannot say to a fuzzer, and one thing that it says to clients and not to us."""

from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

# What the API waits for an order at most, in seconds; each would be one of the run's.
WAITS = {str(seconds) for seconds in range(1, 61)}


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Clients must bear new fields in an answer; here a field that the document lacks is a fault."""
    for schema in raw_schema["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False


# What was asked for with each Idempotency-Key.
ASKED: dict[str, tuple[str, str]] = {}


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Keeps waits short, and makes valid in fact what is valid by the document."""
    if isinstance(case.query, dict) and str(case.query.get("wait")) in WAITS:
        case.query["wait"] = 0
    is_valid = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if is_valid:
        make_valid(case)
    # A key is good for one request and its repetitions. In quotes and bare it is the same.
    key = case.headers.get("Idempotency-Key") if case.headers else None
    request = (case.operation.label, repr(case.body))
    if isinstance(key, str) and ASKED.setdefault(key.strip('"\t '), request) != request and is_valid:
        case.headers["Idempotency-Key"] = f"another-key-{len(ASKED)}"
        ASKED[case.headers["Idempotency-Key"]] = request


def make_valid(case: Case) -> None:
    """Changes what is refused by a rule that the document cannot tell."""
    if isinstance(case.query, dict):
        # A cursor is opaque: only one that a page gave is valid, and no schema can tell which that is.
        case.query.pop("cursor", None)
        for name in ("created_after", "created_before"):
            if name in case.query:
                case.query[name] = within_limits(case.query[name])
    taken = set()
    for order in orders(case.body):
        # No pattern is the list of ISO 4217, nor tells which currency has how many decimals.
        if isinstance(order.get("currency"), str):
            order["currency"] = "EUR"
            order["total_amount"] = round(order["total_amount"], 2)
        # Unique in a batch; between requests a second one is answered with 409.
        if order.get("external_id") in taken:
            order["external_id"] = None
        if order.get("external_id") is not None:
            taken.add(order["external_id"])
        # JSON Schema's `multipleOf: 0.0001` is of no use with binary floats, so the limit of four decimals stands in
        # the description alone. So does the one that minus zero is no amount.
        if isinstance(order.get("total_amount"), float):
            order["total_amount"] = abs(round(order["total_amount"], 4))
        if "process_after" in order:
            order["process_after"] = within_limits(order["process_after"])


def within_limits(time: Any) -> Any:
    """JSON Schema has no limits for times, and its times may have leap seconds.

    The years at both ends are left out for times that their zone takes across.
    """
    if isinstance(time, str) and not ("1971" <= time[:4] <= "9998" and time[17:19] != "60"):
        return "2030" + time[4:17] + "59" + time[19:]
    return time


def orders(body: Any) -> list[dict[str, Any]]:
    """The orders that a body asks for, one or many."""
    if not isinstance(body, dict):
        return []
    many = body.get("orders", [body])
    return [order for order in many if isinstance(order, dict)] if isinstance(many, list) else []
