//go:build linux

package crashtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
)

// A request is, for all who call it, a register that is written once: until it
// is final, callers may be told that it is not, and whoever is told a receipt or
// a refusal is told the same for ever. Calls that began after one had returned
// must have been told what follows it. Calls without a return, and those that
// the store did not answer, say nothing. Nor does "uncertain" or "in progress"
// where the call may have joined another one of its process: it shares that
// one's answer, which is as old as what its process has heard from the store
// (it may have stood still since), while others read the outcome there already.

// told is the register: "" until it is final.
type told string

var callers = porcupine.Model{
	Init: func() any { return told("") },
	Step: func(state, input, output any) (bool, any) {
		now, out := state.(told), output.(crashtest.Line)
		switch out.Told {
		case crashtest.Receipt:
			value := told(crashtest.Receipt + " " + out.Value)
			return now == "" || now == value, value
		case string(onceguard.ErrRefused):
			return now == "" || now == told(onceguard.ErrRefused), told(onceguard.ErrRefused)
		case string(onceguard.ErrUncertain), string(onceguard.ErrInProgress):
			return now == "" || input.(asked).mayHaveJoined, now
		}
		return true, now
	},
	DescribeOperation: func(_, output any) string {
		l := output.(crashtest.Line)
		return l.Told + " " + l.Value
	},
}

// asked is a call as the model sees it.
type asked struct{ mayHaveJoined bool }

// linearTime bounds the search for one request.
const linearTime = 30 * time.Second

// linear looks for one order of the calls for a request that explains what they
// were told.
func linear(lines []crashtest.Line) (broken []string) {
	type caller struct {
		pid int
		n   int64
	}
	invoked, returned := map[caller]time.Time{}, map[caller]time.Time{}
	for _, l := range lines {
		switch l.Kind {
		case crashtest.Invoke:
			invoked[caller{l.PID, l.N}] = l.At
		case crashtest.Return:
			returned[caller{l.PID, l.N}] = l.At
		}
	}
	// A call may join one of its process that had begun and not ended by then.
	joined := func(c caller) bool {
		for other, began := range invoked {
			end, ended := returned[other]
			if other != c && other.pid == c.pid && !began.After(invoked[c]) && (!ended || !end.Before(invoked[c])) {
				return true
			}
		}
		return false
	}
	var history []porcupine.Operation
	for _, l := range lines {
		c := caller{l.PID, l.N}
		began, ok := invoked[c]
		if l.Kind != crashtest.Return || !ok {
			continue
		}
		history = append(history, porcupine.Operation{
			ClientId: len(history), Input: asked{joined(c)}, Output: l, Call: began.UnixNano(), Return: l.At.UnixNano(),
		})
	}
	if r := porcupine.CheckOperationsTimeout(callers, history, linearTime); r != porcupine.Ok {
		broken = append(broken, fmt.Sprintf("no order of the %d calls explains what they were told (%s)", len(history), r))
	}
	return broken
}

// TestLinearSees shows the check failing on histories that break the promise.
func TestLinearSees(t *testing.T) {
	at := time.Now()
	call := func(n int64, from, to int, told, value string) []crashtest.Line {
		// Each from a process of its own, but 8 and 9.
		pid := int(n)
		if n == 9 {
			pid = 8
		}
		l := crashtest.Line{Kind: crashtest.Invoke, PID: pid, N: n, At: at.Add(time.Duration(from))}
		r := crashtest.Line{Kind: crashtest.Return, PID: pid, N: n, At: at.Add(time.Duration(to)), Told: told, Value: value}
		return []crashtest.Line{l, r}
	}
	for name, tc := range map[string]struct {
		lines [][]crashtest.Line
		want  bool
	}{
		"one value":                                      {[][]crashtest.Line{call(1, 0, 10, "receipt", "a"), call(2, 5, 20, "receipt", "a"), call(3, 30, 40, "receipt", "a")}, true},
		"uncertain, then settled late":                   {[][]crashtest.Line{call(1, 0, 10, "uncertain", ""), call(2, 20, 30, "receipt", "a")}, true},
		"uncertain beside the receipt":                   {[][]crashtest.Line{call(1, 0, 10, "receipt", "a"), call(2, 5, 30, "uncertain", "")}, true},
		"the store was away":                             {[][]crashtest.Line{call(1, 0, 10, "receipt", "a"), call(2, 20, 30, "not-run", "")}, true},
		"two values":                                     {[][]crashtest.Line{call(1, 0, 10, "receipt", "a"), call(2, 5, 30, "receipt", "b")}, false},
		"uncertain after a receipt":                      {[][]crashtest.Line{call(1, 0, 10, "receipt", "a"), call(2, 20, 30, "uncertain", "")}, false},
		"in progress after a receipt":                    {[][]crashtest.Line{call(1, 0, 10, "receipt", "a"), call(2, 20, 30, "in-progress", "")}, false},
		"uncertain as the call it joined":                {[][]crashtest.Line{call(8, 0, 40, "uncertain", ""), call(1, 5, 10, "receipt", "a"), call(9, 20, 41, "uncertain", "")}, true},
		"uncertain after its process had ended its call": {[][]crashtest.Line{call(8, 0, 8, "uncertain", ""), call(1, 5, 10, "receipt", "a"), call(9, 20, 41, "uncertain", "")}, false},
		"refused after a receipt":                        {[][]crashtest.Line{call(1, 0, 10, "receipt", "a"), call(2, 20, 30, "refused", "")}, false},
		"a receipt after a refusal":                      {[][]crashtest.Line{call(1, 0, 10, "refused", ""), call(2, 20, 30, "receipt", "a")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var all []crashtest.Line
			for _, l := range tc.lines {
				all = append(all, l...)
			}
			if got := linear(all); (len(got) == 0) != tc.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestAttemptsSee(t *testing.T) {
	line := func(kind string, attempt int64, text string) crashtest.Line {
		return crashtest.Line{Kind: kind, Attempt: attempt, Text: text}
	}
	again := []crashtest.Line{line(crashtest.Start, 1, ""), line(crashtest.Sent, 1, ""), line(crashtest.Start, 2, "")}
	released := []crashtest.Line{line(crashtest.Start, 1, ""), line(crashtest.Sent, 1, ""), line(crashtest.End, 1, "connection refused"), line(crashtest.Start, 2, "")}
	twice := []crashtest.Line{line(crashtest.Start, 1, ""), line(crashtest.Start, 1, "")}
	for name, tc := range map[string]struct {
		policy string
		lines  []crashtest.Line
		broken int
	}{
		"again after an unknown attempt": {crashtest.AtMostOnce, again, 1},
		"as safe-retry allows":           {crashtest.SafeRetry, again, 0},
		"again after a release":          {crashtest.AtMostOnce, released, 0},
		"the same attempt twice":         {crashtest.SafeRetry, twice, 1},
		"a transaction that was undone":  {crashtest.Transactional, twice, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := attempts(tc.policy, tc.lines); len(got) != tc.broken {
				t.Errorf("%v", got)
			}
		})
	}
}
