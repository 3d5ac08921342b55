#!/bin/sh
# Runs every fuzz target of the module, one after the other, each for the time
# given as the first argument. go test takes one target of one package at a time.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
time=${1:-20s}
ran=0
for pkg in $("$go" list ./...); do
	for target in $("$go" test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "== $pkg $target for $time"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
		ran=$((ran + 1))
	done
done
if [ "$ran" = 0 ]; then
	echo "no fuzz target was found" >&2
	exit 1
fi
echo "$ran fuzz targets passed"
