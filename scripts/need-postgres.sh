#!/bin/sh
# Makes sure that PostgreSQL's server binaries are there. The tests start private
# servers from them; no service is set up. Finds them where internal/pgtest does,
# installs them with apt where it may (as root), or says what is missing.
set -eu

found() {
	if [ -n "${ONCEGUARD_PG_BIN:-}" ]; then
		[ -x "$ONCEGUARD_PG_BIN/postgres" ] && [ -x "$ONCEGUARD_PG_BIN/initdb" ]
		return
	fi
	for bin in /usr/lib/postgresql/*/bin; do
		[ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && return
	done
	command -v postgres >/dev/null 2>&1 && command -v initdb >/dev/null 2>&1
}

if found; then
	exit 0
fi
if [ -n "${ONCEGUARD_PG_BIN:-}" ]; then
	echo "ONCEGUARD_PG_BIN=$ONCEGUARD_PG_BIN does not hold postgres and initdb." >&2
	exit 1
fi
missing="The tests need PostgreSQL's server binaries (postgres, initdb; version 15 or newer), and there are none.
Install them (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17),
or set ONCEGUARD_PG_BIN to a directory that holds them."
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "$missing" >&2
	exit 1
fi

echo "No PostgreSQL here: installing Debian's package (the tests run servers of their own from it)." >&2
export DEBIAN_FRONTEND=noninteractive
{
	apt-get update -q
	# Debian would create and start a server for the machine. Nobody asked for one.
	apt-get install -q -y --no-install-recommends postgresql-common
	conf=/etc/postgresql-common/createcluster.conf
	sed -i 's/^#* *create_main_cluster.*/create_main_cluster = false/' "$conf"
	apt-get install -q -y --no-install-recommends postgresql
} </dev/null >&2
if ! found; then
	echo "apt-get has run, and still: $missing" >&2
	exit 1
fi
