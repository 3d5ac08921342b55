// Package storeverify tries a store that a user runs: every case of the store
// suite, on empty stores beside the user's own. It says what of the guard's
// promises holds there, and what cannot be seen from outside.
package storeverify

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/onceguard/onceguard/internal/storesuite"
)

// Verdict says what a case found.
type Verdict string

// The verdicts.
const (
	Kept    Verdict = "kept"
	Broken  Verdict = "broken"
	Skipped Verdict = "skipped" // the case could not be tried here
)

// Result is what one case found.
type Result struct {
	Group   string  `json:"group"`
	Case    string  `json:"case"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Run plays the whole suite, one case after the other, and tells progress each
// result. open gives an empty store; its failures go to the T it gets. The end
// of ctx ends the run between two cases, with its error.
func Run(ctx context.Context, open func(storesuite.T) storesuite.Harness, progress func(Result)) ([]Result, error) {
	var results []Result
	for _, g := range storesuite.Groups(open) {
		for _, c := range g.Cases {
			if err := ctx.Err(); err != nil {
				return results, err
			}
			r := try(c)
			r.Group = g.Name
			results = append(results, r)
			progress(r)
		}
	}
	return results, nil
}

// try plays one case on a goroutine of its own, which Fatal and Skip end.
func try(c storesuite.Case) Result {
	r := &recorder{}
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.clean()
		defer func() {
			if p := recover(); p != nil {
				r.fail(fmt.Sprintf("panic: %v", p))
			}
		}()
		c.Run(r)
	}()
	<-done
	return Result{Case: c.Name, Verdict: r.verdict(), Detail: r.detail(), Seconds: time.Since(began).Seconds()}
}

// recorder is the T of one case.
type recorder struct {
	mu      sync.Mutex // cases report from several goroutines
	failed  bool
	skipped bool
	said    []string
	cleanup []func()
}

var _ storesuite.T = (*recorder)(nil)

func (r *recorder) Helper() {}

func (r *recorder) Logf(format string, args ...any) { r.say(fmt.Sprintf(format, args...)) }

func (r *recorder) Error(args ...any) { r.fail(strings.TrimSuffix(fmt.Sprintln(args...), "\n")) }

func (r *recorder) Errorf(format string, args ...any) { r.fail(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skip(args ...any) {
	r.say(strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}

// Cleanup runs f after the case, the last one first.
func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanup = append(r.cleanup, f)
}

func (r *recorder) clean() {
	for n := len(r.cleanup) - 1; n >= 0; n-- {
		r.cleanup[n]()
	}
}

func (r *recorder) say(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, text)
}

func (r *recorder) fail(text string) {
	r.say(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) verdict() Verdict {
	switch {
	case r.failed:
		return Broken
	case r.skipped:
		return Skipped
	}
	return Kept
}

// detail is what a case said of its failure or of why it was skipped.
func (r *recorder) detail() string {
	if !r.failed && !r.skipped {
		return ""
	}
	return strings.Join(r.said, "\n")
}
