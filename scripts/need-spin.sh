#!/bin/sh
# Makes sure that spin and gcc are there, with which go test ./model explores the
# model of the protocol. Installs them with apt where it may (as root). Without
# them the model's test says loudly that it is skipped, and fails where CI=true.
set -eu

missing() {
	for tool in spin gcc; do
		command -v "$tool" >/dev/null 2>&1 || printf '%s ' "$tool"
	done
	# gcc alone cannot compile: the C library's headers are a package of their own.
	if command -v gcc >/dev/null 2>&1 && ! echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1; then
		printf 'libc6-dev '
	fi
}

need=$(missing)
if [ -z "$need" ]; then
	exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "For the model: installing Debian's $need" >&2
	export DEBIAN_FRONTEND=noninteractive
	{
		apt-get install -q -y --no-install-recommends spin gcc libc6-dev ||
			{ apt-get update -q && apt-get install -q -y --no-install-recommends spin gcc libc6-dev; }
	} </dev/null >&2 || true
fi
need=$(missing)
if [ -n "$need" ]; then
	echo "Missing: $need, so the model of the protocol is not checked (Debian, Ubuntu: apt-get install spin gcc libc6-dev; macOS: brew install spin gcc)." >&2
fi
