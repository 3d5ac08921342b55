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
	return broken
}
