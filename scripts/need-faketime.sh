#!/bin/sh
# Makes sure that libfaketime is there, with which a crash test sets the clock of
# a private PostgreSQL. Installs it with apt where it may (as root). Without it
# that one test says loudly that it is skipped, and fails where CI=true.
set -eu

found() {
	ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1
}

if found || [ "$(uname -s)" != Linux ]; then
	exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "No libfaketime here: installing Debian's package." >&2
	export DEBIAN_FRONTEND=noninteractive
	{
		apt-get install -q -y --no-install-recommends libfaketime ||
			{ apt-get update -q && apt-get install -q -y --no-install-recommends libfaketime; }
	} </dev/null >&2 || true
fi
if ! found; then
	echo "libfaketime is missing, so jumps of PostgreSQL's clock are not tested (Debian, Ubuntu: apt-get install libfaketime)." >&2
fi
