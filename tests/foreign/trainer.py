"""Stands in for a trainer that was written by others: checks what it is asked against the published
schema and signs its report with the library that the webhook specification's authors publish.

In, as JSON on standard input: secret, schemas (a folder), event (a body) or none, report (an object)
or none, message (its id), minutes_ago (how old the signature is; 0 unless given). Out, as JSON: body and headers of the signed report.
"""

import datetime
import json
import pathlib
import sys

import jsonschema
from check_schema import closed
from standardwebhooks import Webhook


def check(schemas, name, document):
    schema = json.loads((pathlib.Path(schemas) / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(
        closed(schema), format_checker=jsonschema.FormatChecker()
    ).validate(document)


def main():
    told = json.load(sys.stdin)
    if told.get("event"):
        event = json.loads(told["event"])
        check(told["schemas"], event["type"], event)
    if told.get("report"):
        check(told["schemas"], "retraining.callback", told["report"])
        body = json.dumps(told["report"])
        age = datetime.timedelta(minutes=told.get("minutes_ago", 0))
        now = datetime.datetime.now(tz=datetime.timezone.utc) - age
        signature = Webhook(told["secret"]).sign(told["message"], now, body)
        headers = {
            "webhook-id": told["message"],
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }
        json.dump({"body": body, "headers": headers}, sys.stdout)


if __name__ == "__main__":
    main()
