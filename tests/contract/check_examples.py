"""Holds every example in an OpenAPI document against its schema: check_examples.py DOCUMENT"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs


def examples(document: Any, node: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Each example with where it stands and the schema beside it."""
    if isinstance(node, dict):
        if "example" in node:
            # A schema's own example stands in the schema.
            yield place, node.get("schema", node), node["example"]
        for name, example in node.get("examples", {}).items() if "schema" in node else []:
            found = document["components"]["examples"][name] if "$ref" in example else example
            yield f"{place}/{name}", node["schema"], found["value"]
        for name, child in node.items():
            if name not in ("example", "examples"):
                yield from examples(document, child, f"{place}/{name}")
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from examples(document, child, f"{place}/{index}")


def main() -> None:
    document = json.loads(Path(sys.argv[1]).read_text())
    faults, count = [], 0
    for place, schema, example in examples(document, document, ""):
        count += 1
        whole = {**schema, "components": document["components"]}
        validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        faults += [f"{place}: {error.message}" for error in validator.iter_errors(example)]
    if faults or not count:
        sys.exit("\n".join(faults) or "the document has no examples")
    print(f"{count} examples conform to their schemas")


if __name__ == "__main__":
    main()
