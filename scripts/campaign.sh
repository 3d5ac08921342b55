#!/bin/sh
# All rings for as long as the first argument says (1h, 90m, 600s): the model,
# every mutant, every cell and every pair of faults, and for the rest of the
# time simulation and random nemesis side by side. Writes seeds, counts and, for
# each failure, the command that repeats it below bin/campaign/ and prints where.
#
# The model, the mutants, the whole table and all pairs take their own time, more than
# an hour on two cores: below three hours in all, pairs are drawn and the table
# is what CI runs.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
length=${1:?usage: scripts/campaign.sh DURATION, such as 1h}
case $length in
*h) seconds=$((${length%h} * 3600)) ;;
*m) seconds=$((${length%m} * 60)) ;;
*s) seconds=${length%s} ;;
*)
	echo "campaign: $length is no duration such as 2h, 90m or 600s" >&2
	exit 64
	;;
esac
out=$PWD/bin/campaign/$(date -u +%Y%m%dT%H%M%SZ)
mkdir -p "$out"
report=$out/report.md
from=$(date +%s)000000
began=$(date +%s)
full=
[ "$seconds" -ge 10800 ] && full=1
failed=0

{
	echo "# Campaign of $length"
	echo
	echo "Begun $(date -u +%Y-%m-%dT%H:%M:%SZ), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $("$go" version | cut -d' ' -f3-), $(nproc) processors."
	echo
	echo '| ring | command | seconds | verdict | log |'
	echo '|---|---|---|---|---|'
} >"$report"

# ring NAME LOG COMMAND...: runs it, and puts a line into the report.
ring() {
	name=$1 log=$2
	shift 2
	at=$(date +%s)
	verdict=passed
	"$@" >"$out/$log" 2>&1 || verdict=FAILED
	echo "| $name | \`$*\` | $(($(date +%s) - at)) | $verdict | $log |" >>"$report"
	echo "campaign: $name: $verdict ($(($(date +%s) - at)) s)"
	[ "$verdict" = passed ]
}

ring "R0 model" model.log "$go" test -count=1 -v -timeout 0 ./model || failed=1
ring "R4 mutants" mutants.log "$go" test -count=1 -v -timeout 0 -run '^TestEachMutantDies$' ./internal/mutant || failed=1
ring "R2 crash points, singly and in pairs" crash.log env ONCEGUARD_CRASH_FULL=$full \
	"$go" test -count=1 -v -timeout 0 -run 'TestCrashTable|TestCrashPairs|TestTableIsWhole' ./internal/crashtest || failed=1

left=$((seconds - ($(date +%s) - began)))
[ "$left" -ge 20 ] || left=20
ring "R1 simulation" simulation.log "$go" test -count=1 -v -timeout 0 -run '^TestSchedules$' ./internal/simtest \
	-sim.duration="$((left / 5))s" -sim.from="$from" || failed=1
ring "R3 random nemesis" nemesis.log "$go" test -count=1 -v -timeout 0 -run '^TestCampaign$' ./internal/crashtest \
	-crash.duration="$((left - left / 5))s" -crash.report="$out/nemesis.md" || failed=1
[ -f "$out/nemesis.md" ] && cat "$out/nemesis.md" >>"$report"

{
	echo
	echo '## Seeds, and how to see failures again'
	echo
	# What the rings print for it: a seed, or the name of a cell.
	grep -hoE "go test [^\"]*-(sim\.seed|crash\.seed|crash\.pairs)=[^\"]*|^ *--- FAIL: [^ ]+" "$out"/*.log | sort -u | sed 's/^ */    /' || true
	[ "$failed" = 0 ] && echo 'Nothing failed.'
} >>"$report"
echo "campaign: $report"
[ "$failed" = 0 ]
