package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verifier is a compiled pan: spin's exhaustive search over the model. All
// variants of a kind share one; they differ in what ONCEGUARD_MODEL says.
type verifier struct {
	path string
	args []string
}

// build compiles the model in dir. With -DNP the search looks for cycles: every
// cycle counts, since the model marks no progress.
func build(ctx context.Context, dir, define string, args ...string) (verifier, error) {
	model, err := filepath.Abs(".")
	if err != nil {
		return verifier{}, err
	}
	optimize := "-O1" // the bounded set is compiled about as long as it runs
	if full() {
		optimize = "-O2"
	}
	for _, c := range []*exec.Cmd{
		exec.CommandContext(ctx, "spin", "-a", filepath.Join(model, "onceguard.pml")),
		exec.CommandContext(ctx, "gcc", optimize, "-w", define, "-DNOCLAIM", "-DCOLLAPSE", "-DVECTORSZ=1024", "-DMEMLIM=12000", "-I"+model, "-o", "pan", "pan.c"),
	} {
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			return verifier{}, fmt.Errorf("%s: %w\n%s", c, err, out)
		}
	}
	return verifier{filepath.Join(dir, "pan"), append([]string{"-m400000", "-c1", "-w22"}, args...)}, nil
}

// outcome is what one run of a verifier found.
type outcome struct {
	states   int
	took     time.Duration
	complete bool            // the search left nothing out
	violated string          // the property, or what else went wrong; empty when none
	steps    map[string]bool // "T4 claimed claimed"
	marks    map[string]bool
	story    string // of the violation, line by line
}

var (
	storedLine    = regexp.MustCompile(`(?m)^\s*(\d+) states, stored`)
	errorsLine    = regexp.MustCompile(`errors: (\d+)`)
	violationLine = regexp.MustCompile(`assertion violated .*\|\|([A-Z]\w+)\)`)
	reportLine    = regexp.MustCompile(`(?m)^(step|mark) (.*) \d+$`)
	incomplete    = regexp.MustCompile(`max search depth too small|out of memory|memory limit|aborting|Search not completed`)
)

// run explores one variant.
func (p verifier) run(t *testing.T, params string) outcome {
	t.Helper()
	dir := t.TempDir() // for the trail
	start := time.Now()
	text := p.exec(t, dir, params, p.args...)
	o := outcome{took: time.Since(start), steps: map[string]bool{}, marks: map[string]bool{}}
	stored, found := storedLine.FindStringSubmatch(text), errorsLine.FindStringSubmatch(text)
	if stored == nil || found == nil {
		t.Fatalf("the verifier did not end as usual:\n%s", text)
	}
	o.states, _ = strconv.Atoi(stored[1])
	for _, m := range reportLine.FindAllStringSubmatch(text, -1) {
		if m[1] == "step" {
			o.steps[m[2]] = true
		} else {
			o.marks[m[2]] = true
		}
	}
	if found[1] != "0" {
		o.violated = violation(text)
		trails, _ := filepath.Glob(filepath.Join(dir, "*.trail"))
		if len(trails) == 1 {
			o.story = story(p.exec(t, dir, params, "-r", trails[0]))
		}
	}
	o.complete = o.violated == "" && !incomplete.MatchString(text)
	return o
}

func violation(text string) string {
	if m := violationLine.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	switch {
	case strings.Contains(text, "invalid end state"):
		return "P6_caller_hangs"
	case strings.Contains(text, "non-progress cycle"):
		return "infinite_run"
	default:
		return text
	}
}

// story keeps what the model tells about itself and leaves out spin's steps.
func story(replay string) string {
	var b strings.Builder
	for line := range strings.Lines(replay) {
		if told, ok := strings.CutPrefix(strings.TrimSpace(line), "> "); ok {
			b.WriteString("\n\t" + told)
		}
	}
	return b.String()
}

func (p verifier) exec(t *testing.T, dir, params string, args ...string) string {
	t.Helper()
	limit := 4 * time.Minute // a run of the bounded set takes seconds
	if full() {
		limit = time.Hour
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, p.path, args...)
	c.Dir, c.Env = dir, append(os.Environ(), "ONCEGUARD_MODEL="+params)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatal(fmt.Errorf("%s: %w", params, errors.Join(err, ctx.Err())))
	}
	if strings.Contains(out.String(), "ONCEGUARD_MODEL:") {
		t.Fatalf("%s: %s", params, out.String())
	}
	return out.String()
}
