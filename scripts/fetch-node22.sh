#!/bin/sh
# Prints a bin directory with Node 22 or newer: the machine's own, or one fetched
# through npm, from the packages node-*, into .tools.
set -eu
cd "$(dirname "$0")/.."
version=22.23.3

if command -v node >/dev/null 2>&1 && [ "$(node -p 'process.versions.node.split(".")[0] >= 22')" = true ]; then
	dirname "$(command -v node)"
	exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
	echo "Node 22 is needed, and fetching it needs npm, which is not in PATH." >&2
	exit 1
fi
case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux-x64 ;;
Linux-aarch64) platform=linux-arm64 ;;
*)
	echo "There is no such package for $(uname -s) on $(uname -m): put Node 22 into PATH." >&2
	exit 1
	;;
esac

dest=$PWD/.tools/node-$version
bin=node_modules/node-$platform/bin
if [ ! -x "$dest/$bin/node" ]; then
	mkdir -p "$PWD/.tools"
	# Made aside and renamed, so that nobody finds half of it.
	tmp=$(mktemp -d "$PWD/.tools/node-install-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	npm install --prefix "$tmp" --no-save --ignore-scripts --no-audit --no-fund \
		"node-$platform@$version" </dev/null >&2
	mv -T "$tmp" "$dest" 2>/dev/null || [ -x "$dest/$bin/node" ] # another run was first
fi
echo "$dest/$bin"
