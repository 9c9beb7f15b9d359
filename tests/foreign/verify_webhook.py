"""Verifies a delivered webhook with the library its specification's authors publish.

In, as JSON on standard input: secrets, headers, body. Out: exit code 0 when the signature is good for
a receiver that knows any one of the secrets, and the same body with one byte changed is refused.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def main():
    delivery = json.load(sys.stdin)
    for secret in delivery["secrets"]:
        webhook = Webhook(secret)
        webhook.verify(delivery["body"], delivery["headers"])
        try:
            webhook.verify(delivery["body"] + " ", delivery["headers"])
        except WebhookVerificationError:
            continue
        raise SystemExit("a changed body passed verification")


if __name__ == "__main__":
    main()
