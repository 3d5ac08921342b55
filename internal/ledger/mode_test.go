package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/ledger"
)

// Each case sends one body twice under one key, and then another body.
func TestModes(t *testing.T) {
	const (
		applied, dedup, refused  = ledger.Applied, ledger.Dedup, ledger.Refused
		mismatch, failed, inprog = ledger.Mismatch, ledger.Failed, ledger.InProgress
	)
	type all = []ledger.Decision
	for name, tc := range map[string]struct {
		modes     []ledger.Mode
		saw       []string
		decisions all
	}{
		"plain": {
			nil,
			[]string{"applied", "applied", "applied"},
			all{applied, applied, applied},
		},
		"dedup": {
			[]ledger.Mode{{Dedup: true}},
			[]string{"applied", "replayed", "422 mismatch"},
			all{applied, dedup, mismatch},
		},
		"dedup, long window": {
			[]ledger.Mode{{Dedup: true, Forget: time.Hour}},
			[]string{"applied", "replayed", "422 mismatch"},
			all{applied, dedup, mismatch},
		},
		"dedup, forgotten": {
			[]ledger.Mode{{Dedup: true, Forget: 1}},
			[]string{"applied", "applied", "applied"},
			all{applied, applied, applied},
		},
		"refuse": {
			[]ledger.Mode{{Refuse: "no funds"}},
			[]string{"402 refused", "402 refused", "402 refused"},
			all{refused, refused, refused},
		},
		"sticky refusal": {
			[]ledger.Mode{{Refuse: "no funds"}, {Dedup: true, Sticky: true}},
			[]string{"402 refused", "402 refused", "422 mismatch"},
			all{refused, dedup, mismatch},
		},
		"sticky refusal, forgotten": {
			[]ledger.Mode{{Refuse: "no funds"}, {Dedup: true, Sticky: true, Forget: 1}},
			[]string{"402 refused", "applied", "applied"},
			all{refused, applied, applied},
		},
		"refusal not remembered": {
			[]ledger.Mode{{Refuse: "no funds"}, {Dedup: true}},
			[]string{"402 refused", "applied", "422 mismatch"},
			all{refused, applied, mismatch},
		},
		"refuse the second": {
			ledger.Nth(2, ledger.Mode{}, ledger.Mode{Refuse: "no funds"}),
			[]string{"applied", "402 refused", "applied"},
			all{applied, refused, applied},
		},
		"refuse the first": {
			ledger.Nth(1, ledger.Mode{Dedup: true}, ledger.Mode{Refuse: "no funds"}),
			[]string{"402 refused", "applied", "422 mismatch"},
			all{refused, applied, mismatch},
		},
		"answer swallowed": {
			[]ledger.Mode{{Dedup: true, SwallowAnswer: true}, {Dedup: true}},
			[]string{"no answer", "replayed", "422 mismatch"},
			all{applied, dedup, mismatch},
		},
		"request swallowed": {
			[]ledger.Mode{{SwallowRequest: true}, {Dedup: true}},
			[]string{"no answer", "applied", "422 mismatch"},
			all{ledger.Dropped, applied, mismatch},
		},
		"in progress": {
			[]ledger.Mode{{InProgress: true}, {}},
			[]string{"409 in-progress", "applied", "applied"},
			all{inprog, applied, applied},
		},
		"error before": {
			[]ledger.Mode{{Error: ledger.Before}, {}},
			[]string{"500 failed", "applied", "applied"},
			all{failed, applied, applied},
		},
		"error after": {
			[]ledger.Mode{{Error: ledger.After}, {Dedup: true}},
			[]string{"500 failed", "replayed", "422 mismatch"},
			all{applied, dedup, mismatch},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			c, _, _ := serve(t, newFile(t))
			if err := c.Modes(ctx, "op", tc.modes...); err != nil {
				t.Fatal(err)
			}
			var saw []string
			for _, body := range []string{"a", "a", "b"} {
				saw = append(saw, verdict(c.Apply(ctx, ledger.Request{Op: "op", Key: "k", Body: []byte(body)})))
			}
			if diff := cmp.Diff(tc.saw, saw); diff != "" {
				t.Errorf("the client saw (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tc.decisions, decisions(ctx, t, c)); diff != "" {
				t.Errorf("decisions (-want +got)\n%s", diff)
			}
			want := 0
			for _, d := range tc.decisions {
				if d == applied {
					want++
				}
			}
			if got := must(c.Count(ctx, "op"))(t); got != want {
				t.Errorf("%d effects, want %d", got, want)
			}
		})
	}
}

func TestReplayIsTheFirstEffect(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	if err := c.Modes(ctx, "", ledger.Mode{Dedup: true}); err != nil {
		t.Fatal(err)
	}
	first := must(c.Apply(ctx, ledger.Request{Op: "op", Key: "k", Attempt: 1}))(t)
	second := must(c.Apply(ctx, ledger.Request{Op: "op", Key: "k", Attempt: 2}))(t)
	if diff := cmp.Diff(first.Effect, second.Effect); diff != "" || first.Attempt != 1 {
		t.Errorf("(-first +second)\n%s", diff)
	}
	for range 2 { // without a key nothing is known again
		if got := verdict(c.Apply(ctx, ledger.Request{Op: "keyless"})); got != "applied" {
			t.Errorf("without a key: %s", got)
		}
	}
}

func TestRefusalCarriesItsReason(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	if err := c.Modes(ctx, "op", ledger.Mode{Refuse: "no funds"}, ledger.Mode{Dedup: true, Sticky: true}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := c.Apply(ctx, ledger.Request{Op: "op", Key: "k"})
		if diff := cmp.Diff(&ledger.Error{Status: 402, Code: "refused", Reason: "no funds"}, err); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestModesOfOneOpAndOfAll(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	try := func(op, want string) {
		t.Helper()
		if got := verdict(c.Apply(ctx, ledger.Request{Op: op})); got != want {
			t.Errorf("%s: %s, want %s", op, got, want)
		}
	}
	set := func(op string, modes ...ledger.Mode) {
		t.Helper()
		if err := c.Modes(ctx, op, modes...); err != nil {
			t.Fatal(err)
		}
	}
	try("a", "applied")
	set("b", ledger.Mode{InProgress: true})
	set("", ledger.Mode{Refuse: "closed"}, ledger.Mode{})
	try("a", "402 refused") // known before the default was set
	try("a", "applied")     // each op goes through the sequence by itself
	try("c", "402 refused")
	try("b", "409 in-progress")
	set("b")
	try("b", "applied")
}

func TestImpossibleModes(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	for name, mode := range map[string]ledger.Mode{
		"die when":             {Die: "later"},
		"error when":           {Error: "later"},
		"sticky without dedup": {Sticky: true},
		"forget without dedup": {Forget: time.Hour},
		"negative slow":        {Slow: -1},
		"negative forget":      {Dedup: true, Forget: -1},
	} {
		err := c.Modes(ctx, "op", ledger.Mode{}, mode)
		if err == nil || !strings.Contains(err.Error(), "400 invalid: mode 2: ") {
			t.Errorf("%s: got %v, want a complaint about mode 2", name, err)
		}
	}
	if got := verdict(c.Apply(ctx, ledger.Request{Op: "op"})); got != "applied" {
		t.Errorf("after refused modes: %s", got)
	}
}
