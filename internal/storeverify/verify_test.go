package storeverify

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/storesuite"
	"github.com/onceguard/onceguard/memstore"
)

func verify(t *testing.T, open func(storesuite.T) storesuite.Harness) []Result {
	t.Helper()
	told := 0
	results, err := Run(t.Context(), open, func(Result) { told++ })
	if err != nil || told != len(results) {
		t.Fatalf("%d results, %d told, %v", len(results), told, err)
	}
	return results
}

func TestGoodStore(t *testing.T) {
	results := verify(t, func(storesuite.T) storesuite.Harness {
		return storesuite.Harness{Store: memstore.New(memstore.Options{}), Short: true}
	})
	count := map[Verdict]int{}
	for _, r := range results {
		count[r.Verdict]++
		if r.Verdict == Broken || r.Verdict == Skipped && r.Detail == "" {
			t.Errorf("%s/%s: %s %q", r.Group, r.Case, r.Verdict, r.Detail)
		}
	}
	if count[Kept] < 100 || count[Skipped] == 0 {
		t.Errorf("%v", count)
	}
	for _, p := range Promises(results) {
		if p.Verdict == Broken || p.Kept+p.Broken+p.Skipped == 0 {
			t.Errorf("%+v", p)
		}
	}
}

// forgetful answers every claim of a final receipt as if it were new.
type forgetful struct{ onceguard.Store }

func (f forgetful) Claim(ctx context.Context, claims []onceguard.Claim) ([]onceguard.Answer, error) {
	list, err := f.Store.Claim(ctx, claims)
	for i := range list {
		if list[i].Outcome == onceguard.Settled {
			list[i].Outcome, list[i].Transition = onceguard.Granted, onceguard.T1
		}
	}
	return list, err
}

func TestBadStore(t *testing.T) {
	results := verify(t, func(storesuite.T) storesuite.Harness {
		return storesuite.Harness{Store: forgetful{memstore.New(memstore.Options{})}, Short: true}
	})
	found := map[string]bool{}
	for _, r := range results {
		if r.Verdict == Broken {
			found[r.Group] = true
			if r.Detail == "" {
				t.Errorf("%s/%s is broken, and does not say how", r.Group, r.Case)
			}
		}
	}
	if !found["claim"] || !found["history"] {
		t.Errorf("the suite saw it in %v only", found)
	}
	if p := Promises(results)[0]; p.Verdict != Broken {
		t.Errorf("%+v", p)
	}
}

// Every group belongs to one promise, or its cases would count for nothing.
func TestPromisesCoverTheSuite(t *testing.T) {
	owner := map[string]string{}
	for _, p := range promises {
		for _, g := range p.groups {
			if owner[g] != "" {
				t.Errorf("group %s is in two promises", g)
			}
			owner[g] = p.text
		}
	}
	for _, g := range storesuite.Groups(func(storesuite.T) storesuite.Harness { return storesuite.Harness{} }) {
		if owner[g.Name] == "" {
			t.Errorf("group %s is in no promise", g.Name)
		}
		delete(owner, g.Name)
	}
	if len(owner) > 0 {
		t.Errorf("no such groups: %v", owner)
	}
}

func TestCaseEndings(t *testing.T) {
	for name, tc := range map[string]struct {
		run     func(storesuite.T)
		verdict Verdict
		detail  string
	}{
		"well":  {func(t storesuite.T) { t.Logf("unseen") }, Kept, ""},
		"fatal": {func(t storesuite.T) { t.Logf("first"); t.Fatalf("no %d", 7) }, Broken, "first\nno 7"},
		"skip":  {func(t storesuite.T) { t.Skip("no clock") }, Skipped, "no clock"},
		"panic": {func(storesuite.T) { panic("oh") }, Broken, "panic: oh"},
		"clean": {func(t storesuite.T) { t.Cleanup(func() { t.Error("left over") }) }, Broken, "left over"},
	} {
		t.Run(name, func(t *testing.T) {
			if r := try(storesuite.Case{Name: name, Run: tc.run}); r.Verdict != tc.verdict || r.Detail != tc.detail {
				t.Errorf("%s %q, want %s %q", r.Verdict, r.Detail, tc.verdict, tc.detail)
			}
		})
	}
}

func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	results, err := Run(ctx, func(storesuite.T) storesuite.Harness {
		return storesuite.Harness{Store: memstore.New(memstore.Options{})}
	}, func(Result) { cancel() })
	if !errors.Is(err, context.Canceled) || len(results) != 1 {
		t.Errorf("%d results, %v", len(results), err)
	}
	if text := strings.Join(Unseen("postgres"), "\n"); !strings.Contains(text, "failover") {
		t.Error(text)
	}
}
