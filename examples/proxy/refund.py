"""Refund an order through the guard, with Python's standard library.

    python3 refund.py http://127.0.0.1:7070/payments/effects order-7

Exit status: 0 refunded, 1 refused, 3 nobody knows (a person must look), 4 gave
up; after 4 run the same line again, it collects the answer or goes on.
"""

import http.client
import json
import sys
import time
import urllib.error
import urllib.request


def refund(url, order):
    request = urllib.request.Request(
        url,
        data=json.dumps({"op": order, "amount": 500}).encode(),
        # The key is the order's, on every try: never a new one after a failure.
        headers={"Idempotency-Key": f"refund-{order}", "Content-Type": "application/json"},
        method="POST",
    )
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                print(response.read().decode())
                return 0
        except urllib.error.HTTPError as error:
            answer = error.read().decode()
            if "problem:outcome-unknown" in answer:
                print(answer, file=sys.stderr)
                return 3
            # The guard's own answers say what to do next.
            if '"retry": "same-key"' not in answer:
                print(answer, file=sys.stderr)
                return 1
        except (OSError, http.client.HTTPException) as error:
            # Refused, reset, cut off, timed out: the same request again.
            print(f"no answer: {error!r}", file=sys.stderr)
        time.sleep(0.1)
    return 4


if __name__ == "__main__":
    sys.exit(refund(sys.argv[1], sys.argv[2]))
