//go:build linux

package crashtest_test

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
)

// promises checks what must hold for every request, whatever happened to it,
// once all is quiet.
func promises(r onceguard.Record, policy string, happened []string, lines []crashtest.Line) (broken []string) {
	complain := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	if len(happened) > 1 && policy != crashtest.Rerun {
		complain("%d effects under %s: %v", len(happened), policy, happened)
	}
	stored := string(r.Result.Body)
	switch r.State {
	case onceguard.Succeeded:
		var paid crashtest.Paid
		if err := json.Unmarshal(r.Result.Body, &paid); r.Result.Missing == onceguard.HasBody && (err != nil || !slices.Contains(happened, paid.Effect)) {
			complain("the receipt names the effect %q (%v), and what happened is %v", paid.Effect, err, happened)
		}
	case onceguard.Failed, onceguard.Released, onceguard.Absent:
		if len(happened) > 0 {
			complain("the record is %s, and there are effects: %v", r.State, happened)
		}
	}
	type caller struct {
		pid int
		n   int64
	}
	sent := map[caller]bool{}
	for _, l := range lines {
		if l.Kind == crashtest.Sent {
			sent[caller{l.PID, l.N}] = true
		}
	}
	for _, l := range lines {
		if l.Kind != crashtest.Return {
			continue
		}
		if l.Told == crashtest.Receipt && (r.State != onceguard.Succeeded || r.Result.Missing == onceguard.HasBody && l.Value != stored) {
			complain("a caller holds the receipt %s, and stored is %s %s", l.Value, r.State, stored)
		}
		if l.Told == string(onceguard.ErrRefused) && r.State != onceguard.Failed {
			complain("a caller was refused, and stored is %s", r.State)
		}
		if !l.MayRun && sent[caller{l.PID, l.N}] && l.Told != "refused" && l.Told != "not-executed" && l.Told != "panic" && l.Told != "goexit" {
			complain("a caller was told %s and that nothing ran, and its effect had sent a request", l.Told)
		}
	}
	broken = append(broken, attempts(policy, lines)...)
	return append(broken, linear(lines)...)
}

// attempts checks the fence as the processes saw it: one attempt is started by
// one of them, and under at-most-once the next may start only where the one
// before surely sent nothing, which its process then wrote down.
func attempts(policy string, lines []crashtest.Line) (broken []string) {
	if policy == crashtest.Transactional {
		return nil // all of them are attempt 1, and none is fenced
	}
	starts, sent, failed := map[int64]int{}, map[int64]bool{}, map[int64]bool{}
	last := int64(0)
	for _, l := range lines {
		switch l.Kind {
		case crashtest.Start:
			starts[l.Attempt]++
			last = max(last, l.Attempt)
		case crashtest.Sent:
			sent[l.Attempt] = true
		case crashtest.End:
			failed[l.Attempt] = l.Text != ""
		}
	}
	for n, times := range starts {
		if times > 1 {
			broken = append(broken, fmt.Sprintf("attempt %d was started %d times", n, times))
		}
		once := policy == crashtest.AtMostOnce || policy == crashtest.WithLookup
		if once && n < last && sent[n] && !failed[n] {
			broken = append(broken, fmt.Sprintf("attempt %d had sent its request, nobody knew what came of it, and attempt %d started under %s", n, last, policy))
		}
	}
	return broken
}
