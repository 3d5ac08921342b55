package model

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onceguard/onceguard"
)

// outside lists what of the code's table the model leaves out, and why.
var outside = map[onceguard.Transition]string{
	onceguard.T15: "prune works only past retention, where no retry can come any more; the variant pruned_early shows what happens otherwise",
}

// full says that all of variants.txt is wanted: up to an hour, and some gigabytes.
func full() bool { return os.Getenv("ONCEGUARD_MODEL_FULL") != "" }

// tools skips the test where spin or gcc is missing, and fails in CI.
func tools(t *testing.T) {
	t.Helper()
	if race {
		t.Skip("the verifiers are C programs; run without the race detector")
	}
	for _, name := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: sh scripts/need-spin.sh installs it or says how", name)
		}
		t.Skipf("THE MODEL WAS NOT CHECKED: %s is missing (Debian, Ubuntu: apt-get install spin gcc)", name)
	}
}

// results gathers what the runs of TestModel found.
type results struct {
	mu    sync.Mutex
	steps map[string]bool
	lines map[int]string
}

// TestModel explores every variant of variants.txt within its bounds.
func TestModel(t *testing.T) {
	tools(t)
	all := variants(t)
	var (
		safety, cycles verifier
		errs           [2]error
		wg             sync.WaitGroup
	)
	wg.Go(func() { safety, errs[0] = build(t.Context(), t.TempDir(), "-DSAFETY") })
	wg.Go(func() { cycles, errs[1] = build(t.Context(), t.TempDir(), "-DNP", "-l") })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	known(t, safety, all)

	res := results{steps: map[string]bool{}, lines: map[int]string{}}
	slots := make(chan struct{}, 2) // each takes up to gigabytes
	t.Run("variants", func(t *testing.T) {
		for i, v := range all {
			if v.full && !full() {
				continue
			}
			t.Run(string(v.kind)+"/"+v.title, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				p := safety
				if v.kind == ends {
					p = cycles
				}
				o := p.run(t, v.params)
				check(t, v, o)
				res.add(i, v, o)
			})
		}
	})
	if res.complete(all) { // not where -run chose some
		reached(t, res.steps)
	}
	if *publish != "" && !t.Failed() {
		res.publish(t, *publish)
	}
}

// check compares what a run found with what its variant says.
func check(t *testing.T, v variant, o outcome) {
	t.Helper()
	t.Logf("%d states, %.1fs %s", o.states, o.took.Seconds(), o.violated)
	if v.kind == wrong {
		if !slices.ContainsFunc(v.want, func(p string) bool { return strings.HasPrefix(o.violated, p+"_") }) {
			t.Errorf("%s: violated %q, want one of %v%s", v.params, o.violated, v.want, o.story)
		}
		return
	}
	if o.violated != "" {
		t.Fatalf("%s: violated %s%s", v.params, o.violated, o.story)
	}
	if !o.complete {
		t.Errorf("%s: the search was not exhaustive: a limit was hit", v.params)
	}
	for _, m := range v.want {
		if !o.marks[m] {
			t.Errorf("%s: no schedule takes the path %s, so this run shows little; taken: %v", v.params, m, slices.Sorted(maps.Keys(o.marks)))
		}
	}
}

// known holds variants.txt and params.h together: every wrong rule has a line
// that must see it, and every path is demanded by some line.
func known(t *testing.T, p verifier, all []variant) {
	t.Helper()
	used := map[string]bool{}
	for _, v := range all {
		if v.kind == wrong {
			used["wrong "+v.wrongRule()] = true
			continue
		}
		for _, m := range v.want {
			used["mark "+m] = true
		}
	}
	declared := map[string]bool{}
	for line := range strings.Lines(p.exec(t, t.TempDir(), "list")) {
		declared[strings.TrimSpace(line)] = true
	}
	for name := range declared {
		if !used[name] {
			t.Errorf("params.h declares %q, and no line of variants.txt asks for it", name)
		}
	}
	for name := range used {
		if !declared[name] {
			t.Errorf("variants.txt asks for %q, which params.h does not declare", name)
		}
	}
}

// reached holds the model to the whole of the code's table: each change in it
// is taken by some schedule, or its transition stands outside with the reason.
func reached(t *testing.T, steps map[string]bool) {
	t.Helper()
	for _, c := range changes() {
		taken := steps[c.String()]
		switch _, out := outside[c.by]; {
		case !taken && !out:
			t.Errorf("no schedule takes %s, which the code's table allows: give the model that rule, or name it in outside with the reason", c)
		case taken && out:
			t.Errorf("%s is taken and yet named as outside", c)
		}
	}
}

// complete reports whether every variant that was due has run.
func (r *results) complete(all []variant) bool {
	due := 0
	for _, v := range all {
		if !v.full || full() {
			due++
		}
	}
	return len(r.lines) == due
}

func (r *results) add(i int, v variant, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.kind == hold && o.violated == "" {
		maps.Copy(r.steps, o.steps)
	}
	r.lines[i] = row(v, o)
}
