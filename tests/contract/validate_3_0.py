"""Validates the document that an API serves in OpenAPI 3.0: validate_3_0.py URL"""

import json
import sys
from urllib.request import urlopen

from openapi_spec_validator import OpenAPIV30SpecValidator


def main() -> None:
    with urlopen(sys.argv[1] + "/openapi-3.0.json") as answer:
        document = json.load(answer)
    assert document["openapi"].startswith("3.0."), document["openapi"]
    OpenAPIV30SpecValidator(document).validate()
    print("the document is valid in OpenAPI 3.0")


if __name__ == "__main__":
    main()
