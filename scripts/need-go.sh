#!/bin/sh
# Says what to do when Go is missing or older than go.mod asks for.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
want=$(sed -n 's/^go //p' go.mod)
install="Install Go $want or newer: see go.dev/doc/install (Debian's golang package is often older)."

if ! command -v "$go" >/dev/null 2>&1; then
	echo "onceguard needs Go, and '$go' is not in PATH. $install" >&2
	exit 1
fi
# Inside the module an older Go (1.21 on) fetches the version it needs by itself,
# if it may and has the network.
if ! have=$("$go" env GOVERSION 2>&1); then
	echo "onceguard needs Go $want, and this one does not run here: $have" >&2
	echo "$install" >&2
	exit 1
fi
have=${have#go}
have=${have%%[!0-9.]*}
if [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" != "$want" ]; then
	echo "onceguard needs Go $want, and this is Go $have. $install" >&2
	exit 1
fi
