package onceguard_test

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// says matches a text that tells whether the effect may have run.
var tells = regexp.MustCompile(`may have happened|did not happen|surely did not|effect happened|nothing (was|is) run|earlier one may have`)

func TestEveryErrorSaysWhetherTheEffectMayHaveRun(t *testing.T) {
	states := []onceguard.State{onceguard.Absent, onceguard.Claimed, onceguard.Released, onceguard.Uncertain, onceguard.Succeeded, onceguard.Failed}
	for _, code := range onceguard.Codes {
		for _, state := range states {
			for _, ran := range []bool{false, true} {
				e := &onceguard.Error{
					Code: code, State: state, MayHaveRun: ran, Action: "refund.create", Key: "order=1", RequestID: onceguard.RequestID{1},
					Store: "sqlite:x.db", Reason: "a reason", RetryAfter: 3 * time.Second, Err: io.EOF,
				}
				text := e.Error()
				if !tells.MatchString(text) {
					t.Errorf("%s/%s/%v does not tell: %s", code, state, ran, text)
				}
				if !strings.HasPrefix(text, "onceguard: "+string(code)+": refund.create order=1 (req_") || strings.Contains(text, "\n") {
					t.Errorf("%s: %s", code, text)
				}
				// What it says and the flag must not contradict each other.
				if definite := strings.Contains(text, "the effect did not happen") || strings.Contains(text, "surely did not happen"); definite && ran && code != onceguard.ErrRefused {
					t.Errorf("%s/%s says no, the flag says maybe: %s", code, state, text)
				}
				if strings.Contains(text, "effect may have happened") && !ran && code != onceguard.ErrInProgress && code != onceguard.ErrUncertain {
					t.Errorf("%s/%s says maybe, the flag says no: %s", code, state, text)
				}
			}
		}
	}
}

func TestErrorMatching(t *testing.T) {
	for _, code := range onceguard.Codes {
		err := fmt.Errorf("paying: %w", &onceguard.Error{Code: code, Err: io.EOF})
		for _, other := range onceguard.Codes {
			if errors.Is(err, other) != (code == other) {
				t.Errorf("Is(%s, %s) is %v", code, other, errors.Is(err, other))
			}
		}
		var e *onceguard.Error
		if !errors.As(err, &e) || e.Code != code || !errors.Is(err, io.EOF) {
			t.Errorf("%s: As %v, cause %v", code, e, errors.Is(err, io.EOF))
		}
		var c onceguard.Code
		if errors.As(error(code), &c); c != code || code.Error() != "onceguard: "+string(code) {
			t.Errorf("%s as an error is %v", code, code.Error())
		}
	}
}

func TestMayHaveRun(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"ours, yes":          {fmt.Errorf("x: %w", &onceguard.Error{Code: onceguard.ErrUncertain, MayHaveRun: true}), true},
		"ours, no":           {fmt.Errorf("x: %w", &onceguard.Error{Code: onceguard.ErrNotRun}), false},
		"another's":          {io.EOF, true},
		"a success happened": {nil, true},
	} {
		if got := onceguard.MayHaveRun(tc.err); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestDeclaredErrors(t *testing.T) {
	if onceguard.NotExecuted(nil) != nil || onceguard.Refused(nil) != nil {
		t.Error("a nil error was declared to be one")
	}
	err := onceguard.NotExecuted(fmt.Errorf("dialing: %w", io.EOF))
	if !errors.Is(err, io.EOF) || err.Error() != "dialing: EOF" {
		t.Errorf("%v", err)
	}
	virtual(t, func(w *world) {
		// The outermost declaration wins; a wrapped one counts.
		_, err := w.do(request("1"), w.act(refund{}, fmt.Errorf("charging: %w", onceguard.NotExecuted(onceguard.Refused(io.EOF)))))
		w.want(err, onceguard.ErrNotExecuted)
		_, err = w.do(request("2"), w.act(refund{}, onceguard.Refused(onceguard.NotExecuted(io.EOF))))
		w.want(err, onceguard.ErrRefused)
	})
}

func TestStoreError(t *testing.T) {
	for clean, want := range map[bool]string{true: "nothing was written", false: "not known whether it was written"} {
		err := &onceguard.StoreError{Op: "claim", Clean: clean, Err: io.EOF}
		if !strings.Contains(err.Error(), want) || !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
	}
}
