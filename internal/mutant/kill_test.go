package mutant_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// ring is a test binary that has all mutants, and how it is asked.
type ring struct {
	pkg  string
	args func(checks string) []string
}

var rings = map[mutant.Ring]ring{
	mutant.Simulation: {"../simtest", func(string) []string {
		return []string{"-test.run=^TestSchedules$", "-sim.schedules=6000"}
	}},
	mutant.Memory:   {"../../memstore", suite},
	mutant.SQLite:   {"../../sqlitestore", suite},
	mutant.Postgres: {"../../pgstore", suite},
}

// suite runs tests, or one subtest such as "TestConformance/claim", of a package.
func suite(checks string) []string {
	run := "^(" + strings.Join(strings.Fields(checks), "|") + ")$"
	return []string{"-test.run=" + strings.ReplaceAll(run, "/", ")$/^("), "-test.failfast"}
}

var violation = regexp.MustCompile(`VIOLATION (C\d)`)

// limit bounds one run: a mutant that makes a ring hang is not killed by it.
const limit = 3 * time.Minute

// TestEachMutantDies builds each ring once with all mutants, sees it pass
// without one, and sees it notice each of those that it must notice: by a
// violation or a failed test, not by a hang, a crash or an empty run.
func TestEachMutantDies(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the tests of four packages and runs each mutant")
	}
	dir := t.TempDir()
	var mu sync.Mutex
	lines := make([]string, len(mutant.Table))
	begin := time.Now()
	binaries := map[mutant.Ring]string{}
	for name, r := range rings {
		if !uses(name) {
			continue
		}
		bin := filepath.Join(dir, string(name)+".test")
		if out, err := exec.Command("go", "test", "-tags", "mutant", "-c", "-o", bin, r.pkg).CombinedOutput(); err != nil {
			t.Fatalf("building the tests of %s: %v\n%s", r.pkg, err, out)
		}
		binaries[name] = bin
	}
	skipped := sync.Map{}
	t.Run("none", func(t *testing.T) {
		for name, bin := range binaries {
			t.Run(string(name), func(t *testing.T) {
				t.Parallel()
				for _, checks := range asked(name) {
					out, err := start(t, bin, name, "", checks)
					if err != nil {
						t.Fatalf("%s fails without a mutant, asked %q: %v\n%s", name, checks, err, tail(out))
					}
					if bytes.Contains(out, []byte("\n--- SKIP")) {
						skipped.Store(name, true)
					}
				}
			})
		}
	})
	t.Run("mutants", func(t *testing.T) {
		slots := make(chan struct{}, max(1, runtime.GOMAXPROCS(0)))
		for i, m := range mutant.Table {
			t.Run(m.Name, func(t *testing.T) {
				t.Parallel()
				if _, no := skipped.Load(m.Ring); no {
					t.Skipf("%s cannot be run here", m.Ring)
				}
				slots <- struct{}{}
				defer func() { <-slots }()
				since := time.Now()
				by := dies(t, m, binaries[m.Ring])
				mu.Lock()
				defer mu.Unlock()
				lines[i] = fmt.Sprintf("%-28s %-11s %5.1f s  %-40s %s", m.Name, m.Ring, time.Since(since).Seconds(), by, m.Breaks)
			})
		}
	})
	t.Logf("%d mutants in %s:\n%s", len(mutant.Table), time.Since(begin).Round(time.Second), strings.Join(lines, "\n"))
}

func uses(name mutant.Ring) bool {
	for _, m := range mutant.Table {
		if m.Ring == name {
			return true
		}
	}
	return false
}

// asked is what the mutants of a ring ask of it.
func asked(name mutant.Ring) (all []string) {
	for _, m := range mutant.Table {
		switch {
		case m.Ring != name || slices.Contains(all, m.Checks):
		case name == mutant.Simulation && len(all) > 0: // always the same run
		default:
			all = append(all, m.Checks)
		}
	}
	return all
}

func start(t *testing.T, bin string, name mutant.Ring, planted, checks string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append(rings[name].args(checks), "-test.v", "-test.timeout="+limit.String())...)
	cmd.Dir = rings[name].pkg
	cmd.Env = append(os.Environ(), "ONCEGUARD_MUTANT="+planted)
	return cmd.CombinedOutput()
}

// dies runs one mutant and says what noticed it.
func dies(t *testing.T, m mutant.Mutant, bin string) string {
	t.Helper()
	out, err := start(t, bin, m.Ring, m.Name, m.Checks)
	switch {
	case err == nil:
		t.Errorf("%s survives: nothing noticed that %s", m.Name, m.Breaks)
	case !bytes.Contains(out, []byte(m.Name+" was reached")):
		t.Errorf("%s: the tests failed and the mutant was not reached\n%s", m.Name, tail(out))
	case bytes.Contains(out, []byte("panic: ")) || !bytes.Contains(out, []byte("--- FAIL")):
		t.Errorf("%s: the tests ended for another reason than a failed check\n%s", m.Name, tail(out))
	case m.Ring == mutant.Simulation:
		for _, found := range violation.FindAllSubmatch(out, -1) {
			if strings.Contains(m.Checks, string(found[1])) {
				return string(found[1])
			}
		}
		t.Errorf("%s: none of %s noticed it\n%s", m.Name, m.Checks, tail(out))
		return ""
	}
	return failed(out)
}

// failed is the name of the first subtest that failed, or of the test.
func failed(out []byte) (test string) {
	for line := range strings.SplitSeq(string(out), "\n") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " (")
			if test == "" || strings.Count(name, "/") == strings.Count(test, "/")+1 {
				test = name
			}
		}
	}
	return test
}

func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
