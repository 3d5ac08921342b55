#!/bin/sh
# Refund an order through the guard, with curl.
#
#   sh refund.sh http://127.0.0.1:7070/payments/effects order-7
#
# Exit status: 0 refunded, 1 refused, 3 nobody knows (a person must look), 4 gave
# up; after 4 run the same line again, it collects the answer or goes on.
set -eu
url=$1 order=$2
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

tries=0
while [ "$tries" -lt 100 ]; do
	tries=$((tries + 1))
	# The key is the order's, on every try: never a new one after a failure.
	if status=$(curl --silent --show-error --max-time 30 --output "$answer" --write-out '%{http_code}' \
		--header "Idempotency-Key: refund-$order" --header 'Content-Type: application/json' \
		--data "{\"op\": \"$order\", \"amount\": 500}" "$url"); then
		case $status in
		2??) cat "$answer"; exit 0 ;;
		esac
		if grep -q 'problem:outcome-unknown' "$answer"; then
			cat "$answer" >&2
			exit 3
		fi
		# The guard's own answers say what to do next.
		if ! grep -q '"retry": "same-key"' "$answer"; then
			cat "$answer" >&2
			exit 1
		fi
	fi
	sleep 0.1
done
exit 4
