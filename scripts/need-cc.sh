#!/bin/sh
# The race detector needs cgo, and cgo a C compiler. Installs one with apt where
# it may (as root), or says what is missing.
set -eu
if command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1; then
	exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "No C compiler here: installing Debian's gcc for the race detector." >&2
	DEBIAN_FRONTEND=noninteractive
	export DEBIAN_FRONTEND
	{
		apt-get update -q
		apt-get install -q -y --no-install-recommends gcc libc6-dev
	} </dev/null >&2
	exit 0
fi
echo "The race detector needs a C compiler (Debian: apt-get install gcc libc6-dev). 'make test' does without." >&2
exit 1
