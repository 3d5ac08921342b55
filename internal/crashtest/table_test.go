//go:build linux

package crashtest_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/fault"
)

const tablePath = "../../docs/faults.md"

// The actions of the crash table: what happens to the first process.
const (
	actKill  = "kill"  // SIGKILL at the point
	actError = "error" // the step reports an error although it may have been done
	actDelay = "delay" // one goroutine is held for longer than the lease
	actPause = "pause" // SIGSTOP for longer than the lease
	actCut   = "cut"   // all connections to the store are reset
)

var actions = []string{actKill, actError, actDelay, actPause, actCut}

// inFlight is the point between guard.effect.before and .after where the
// request has reached the ledger, which no failpoint can name.
const inFlight = "effect in flight"

// points lists the rows of the table for an action, in the order in which an
// operation passes them.
func points(action string) []string {
	if action == actError {
		return []string{
			"store.claim.before-commit", "store.claim.after-commit", inFlight, "store.renew.before", "store.renew.after",
			"store.settle.before-commit", "store.settle.after-commit",
		}
	}
	return []string{
		"guard.claim.before", "store.claim.before-commit", "store.claim.after-commit", "guard.claim.after",
		"guard.effect.before", inFlight, "store.renew.before", "store.renew.after", "guard.effect.after",
		"guard.settle.before", "store.settle.before-commit", "store.settle.after-commit", "guard.settle.after",
		"guard.answer.before", "reconcile.before", "reconcile.after", "resolve.before", "resolve.after",
	}
}

// elsewhere lists the failpoints that are no rows, and where they are proved.
var elsewhere = map[string]string{
	"run.child.before-start": "the tests of onceguard run",
	"run.child.after-start":  "the tests of onceguard run",
	"run.child.after-exit":   "the tests of onceguard run",
	"spool.before-write":     "TestSpool",
	"spool.after-write":      "TestSpool",
}

// cell is one case of the table.
type cell struct{ action, point, store, policy string }

func (c cell) String() string {
	return strings.Join([]string{c.action, c.point, c.store, c.policy}, "/")
}

// want is what a cell must come to. Alternatives are separated by slashes where
// the order of two processes decides; all of them are then right.
type want struct {
	text      string
	notPassed bool
	effects   []int
	state     string
	attempts  []int64
	evidence  []string // with a question mark: perhaps
	told      [][]string
}

const notPassed = "not passed"

var (
	cellForm  = regexp.MustCompile(`^([\d/]+) (absent|claimed|released|uncertain|succeeded|failed)(?:@([\d/]+))?(?: \[([^\]]*)\])?: (.+)$`)
	rowForm   = regexp.MustCompile(`^\|(.+)\|$`)
	headForm  = regexp.MustCompile("^### ([a-z]+)$")
	ruledLine = regexp.MustCompile(`^\|[-| ]+\|$`)
)

func parseCell(text string) (want, error) {
	w := want{text: text}
	if text == notPassed {
		w.notPassed = true
		return w, nil
	}
	m := cellForm.FindStringSubmatch(text)
	if m == nil {
		return w, fmt.Errorf("%q is no cell: want EFFECTS STATE@ATTEMPT [EVIDENCE]: TOLD, TOLD, …, or %q", text, notPassed)
	}
	for part := range strings.SplitSeq(m[1], "/") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return w, fmt.Errorf("%q: effects: %w", text, err)
		}
		w.effects = append(w.effects, n)
	}
	w.state = m[2]
	for part := range strings.SplitSeq(m[3], "/") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil && m[3] != "" {
			return w, fmt.Errorf("%q: attempt: %w", text, err)
		}
		w.attempts = append(w.attempts, n)
	}
	w.evidence = strings.Fields(m[4])
	for part := range strings.SplitSeq(m[5], ", ") {
		w.told = append(w.told, strings.Split(part, "/"))
	}
	return w, nil
}

// readTable reads the crash table out of docs/faults.md.
func readTable(t testing.TB) map[cell]want {
	t.Helper()
	data, err := os.ReadFile(tablePath)
	if err != nil {
		t.Fatal(err)
	}
	table := map[cell]want{}
	var action string
	var policies []string
	for n, line := range strings.Split(string(data), "\n") {
		bad := func(format string, args ...any) {
			t.Fatalf("%s:%d: %s", tablePath, n+1, fmt.Sprintf(format, args...))
		}
		if strings.HasPrefix(line, "#") {
			action, policies = "", nil
			if m := headForm.FindStringSubmatch(line); m != nil && slices.Contains(actions, m[1]) {
				action = m[1]
			}
			continue
		}
		m := rowForm.FindStringSubmatch(line)
		if action == "" || m == nil || ruledLine.MatchString(line) {
			continue
		}
		var parts []string
		for part := range strings.SplitSeq(m[1], "|") {
			parts = append(parts, strings.TrimSpace(part))
		}
		if policies == nil {
			if len(parts) < 3 || parts[0] != "point" || parts[1] != "store" {
				bad("the table's head is %q, want point, store and policies", parts)
			}
			policies = parts[2:]
			continue
		}
		if len(parts) != len(policies)+2 {
			bad("%d columns, want %d", len(parts), len(policies)+2)
		}
		point := strings.Trim(parts[0], "`")
		if !slices.Contains(points(action), point) {
			bad("%q is no point of %s", point, action)
		}
		where := []string{parts[1]}
		if parts[1] == "both" {
			where = stores
		}
		for i, policy := range policies {
			w, err := parseCell(parts[i+2])
			if err != nil {
				bad("%v", err)
			}
			for _, store := range where {
				c := cell{action, point, store, policy}
				if _, twice := table[c]; twice || !slices.Contains(stores, store) || !slices.Contains(crashtest.Policies, policy) {
					bad("%s: twice in the table, or no such store or policy", c)
				}
				table[c] = w
			}
		}
	}
	return table
}

// cells lists every cell that there must be, in the order of the table.
func cells() []cell {
	var list []cell
	for _, action := range actions {
		for _, point := range points(action) {
			for _, store := range stores {
				if action == actCut && store != postgres {
					continue // a file has no connection
				}
				for _, policy := range crashtest.Policies {
					list = append(list, cell{action, point, store, policy})
				}
			}
		}
	}
	return list
}

// TestTableIsWhole compares the table with the failpoints that there are:
// neither may have what the other lacks.
func TestTableIsWhole(t *testing.T) {
	table := readTable(t)
	for _, c := range cells() {
		if _, ok := table[c]; !ok {
			t.Errorf("%s has no line for %s", tablePath, c)
		}
		delete(table, c)
	}
	for c := range table {
		t.Errorf("%s has %s, and no test runs it", tablePath, c)
	}
	for _, name := range fault.Points {
		if !slices.Contains(points(actKill), name) && elsewhere[name] == "" {
			t.Errorf("failpoint %s is in no row of the crash table", name)
		}
	}
	for _, name := range points(actKill) {
		if name != inFlight && !slices.Contains(fault.Points, name) {
			t.Errorf("%s is no failpoint", name)
		}
	}
}

// matches says what of the outcome is not as written; empty when all is.
func (w want) matches(o outcome) string {
	if w.notPassed != !o.passed {
		return fmt.Sprintf("the point was passed: %t", o.passed)
	}
	if w.notPassed {
		return ""
	}
	switch {
	case !slices.Contains(w.effects, o.effects):
		return fmt.Sprintf("%d effects", o.effects)
	case w.state != o.state:
		return "the record is " + o.state
	case !slices.Contains(w.attempts, o.attempt):
		return fmt.Sprintf("the record is at attempt %d", o.attempt)
	}
	for _, kind := range w.evidence {
		if !strings.HasSuffix(kind, "?") && !slices.Contains(o.evidence, kind) {
			return "there is no evidence of kind " + kind
		}
	}
	for _, kind := range o.evidence {
		if !slices.Contains(w.evidence, kind) && !slices.Contains(w.evidence, kind+"?") {
			return "there is evidence of kind " + kind
		}
	}
	if len(w.told) != len(o.told) {
		return fmt.Sprintf("%d phases, %d are written", len(o.told), len(w.told))
	}
	for i, phase := range o.told {
		for _, told := range phase {
			if !slices.Contains(w.told[i], told) {
				return fmt.Sprintf("phase %d was told %s", i+1, told)
			}
		}
	}
	return ""
}
