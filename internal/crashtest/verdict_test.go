//go:build linux

package crashtest_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/crashtest"
)

var campaignReport = flag.String("crash.report", "", "file to which the campaign's counts, seed and failures are appended, as Markdown")

// What a campaign must have met. One that did not is inconclusive: it proves
// nothing about what it never saw.
var mustMeet = []string{
	"kills", "stops", "replays", "takeovers", "late settles", "lookup settles", "state uncertain",
	"ambiguous commits, applied", "ambiguous commits, not applied",
}

func (c *campaign) unmet() (never []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, what := range mustMeet {
		if c.count[what] == 0 {
			never = append(never, what)
		}
	}
	return never
}

// tally counts what the histories show.
func (r *round) tally(l crashtest.Line) {
	switch {
	case l.Kind == crashtest.Return:
		r.note("calls", 1)
		r.note("told "+l.Told, 1)
		if l.Replayed {
			r.note("replays", 1)
		}
	case l.Kind == crashtest.Saw && l.Event == "store-retry":
		r.note("unclear answers", 1)
	case l.Kind == crashtest.Saw && l.Event == "superseded":
		r.note("superseded", 1)
	}
}

// ambiguous counts the commits of a worker whose outcome nobody was told, by
// what had become of them: those at which a rule fired.
func (r *round) ambiguous(w *worker) {
	for _, op := range []string{"claim", "settle"} {
		r.note("ambiguous commits, not applied", w.count("store."+op+".before-commit", true))
		r.note("ambiguous commits, applied", w.count("store."+op+".after-commit", true))
	}
}

// judge says whether the campaign met what it is for.
func (c *campaign) judge(t *testing.T, kind, again string) {
	verdict := "nothing broken"
	if never := c.unmet(); len(never) > 0 {
		verdict = "INCONCLUSIVE: it met no " + strings.Join(never, ", no ")
		t.Errorf("%s; again by: %s", verdict, again)
	}
	for _, what := range slices.Sorted(maps.Keys(c.count)) {
		t.Logf("%6d %s", c.count[what], what)
	}
	c.report(t, kind, again, verdict)
}

// report appends to the track record.
func (c *campaign) report(t *testing.T, kind, again, verdict string) {
	if *campaignReport == "" {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n### Random nemesis on %s, %s\n\n%s. Again by:\n\n    %s\n\n| met | times |\n|---|---|\n", kind, time.Now().UTC().Format(time.RFC3339), verdict, again)
	for _, what := range slices.Sorted(maps.Keys(c.count)) {
		fmt.Fprintf(&b, "| %s | %d |\n", what, c.count[what])
	}
	f, err := os.OpenFile(*campaignReport, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(b.String())
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		t.Error(err)
	}
}
