"""Validates events against the published JSON Schemas with a library that knows nothing of Fathomline.

In: a folder of schemas; on standard input a JSON array of events. Out: exit code 0 when every event
is valid, says nothing that its schema does not describe, and is refused with any field of `data`
taken out that the schema requires.
"""

import copy
import json
import pathlib
import sys

from jsonschema import Draft202012Validator, FormatChecker


def closed(schema):
    """The schema, but an object may have no other fields than those it describes."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(part) for key, part in schema.items()}
    if "object" in schema.get("type", []) and "properties" in schema:
        schema["additionalProperties"] = False
    return schema


def main():
    folder = pathlib.Path(sys.argv[1])
    validators = {}
    for path in folder.glob("*.json"):
        schema = json.loads(path.read_text())
        Draft202012Validator.check_schema(schema)
        validators[path.stem] = (
            schema,
            Draft202012Validator(closed(schema), format_checker=FormatChecker()),
        )
    events = json.load(sys.stdin)
    for event in events:
        schema, validator = validators[event["type"]]
        validator.validate(event)
        for field in schema["properties"]["data"].get("required", []):
            without = copy.deepcopy(event)
            del without["data"][field]
            if validator.is_valid(without):
                raise SystemExit(f"{event['type']} is valid without {field}")
    print(len(events))


if __name__ == "__main__":
    main()
