"""Validates the document that an API serves in OpenAPI 3.0, and its examples: validate_3_0.py URL"""

import json
import sys
from urllib.request import urlopen

from check_examples import examples
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator


def main() -> None:
    with urlopen(sys.argv[1] + "/openapi-3.0.json") as answer:
        document = json.load(answer)
    assert document["openapi"].startswith("3.0."), document["openapi"]
    OpenAPIV30SpecValidator(document).validate()
    faults = []
    for place, schema, example in examples(document, document, ""):
        validator = OAS30Validator({**schema, "components": document["components"]})
        faults += [f"{place}: {error.message}" for error in validator.iter_errors(example)]
    if faults:
        sys.exit("\n".join(faults))
    print("the document is valid in OpenAPI 3.0, and so are its examples")


if __name__ == "__main__":
    main()
