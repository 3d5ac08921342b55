package httpverify

import (
	"context"
	"errors"
	"fmt"
)

// Verdict says what a check found.
type Verdict string

// The verdicts.
const (
	Kept    Verdict = "kept"
	Broken  Verdict = "broken"
	Unclear Verdict = "unclear" // the answers do not tell
)

// Result is what one check found.
type Result struct {
	Check   string   `json:"check"`
	Promise string   `json:"promise"` // what a client relies on
	Verdict Verdict  `json:"verdict"`
	Detail  string   `json:"detail"`
	Seen    []string `json:"seen"` // the statuses, in order
	Effects *int     `json:"effects,omitempty"`
}

// Report is the outcome of a run.
type Report struct {
	URL     string   `json:"url"`
	Counted bool     `json:"counted"` // effects were counted, not only answers compared
	Results []Result `json:"results"`
}

// Broken counts the promises that are not kept.
func (r Report) Broken() (n int) {
	for _, x := range r.Results {
		if x.Verdict == Broken {
			n++
		}
	}
	return n
}

// ErrUnusable means that nothing was tried: the target does not answer, or does
// not accept the request that it was given.
var ErrUnusable = errors.New("the target cannot be tried")

// check is one promise and how it is tried. effects is how many there may be; -1
// is any number.
type check struct {
	name, promise string
	effects       int
	try           func(ctx context.Context, t *Target, r *Result)
}

var checks = []check{
	{"replay", "a retry with the same key gets the same status and bytes", 1, tryReplay},
	{"replay-headers", "a retry repeats no cookie of the first answer", 1, tryReplayHeaders},
	{"keys-apart", "another key is another operation", 2, tryKeysApart},
	{"mismatch", "a key that was used for another payload is refused", 1, tryMismatch},
	{"concurrent", "of several copies at once one runs, and all learn the same", 1, tryConcurrent},
	{"concurrent-mismatch", "of two payloads under one key at once only one is accepted", 1, tryConcurrentMismatch},
	{"answer-lost", "after a lost answer the retry gets it and runs nothing", 1, tryAnswerLost},
	{"key-repeated", "a request with two keys is refused", 0, tryKeyRepeated},
	{"key-missing", "a request without a key is refused", 0, tryKeyMissing},
}

// Run tries a target. ctx bounds the whole run. progress, if not nil, hears each
// result as it comes.
func Run(ctx context.Context, t Target, progress func(Result)) (Report, error) {
	if err := t.fill(); err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	_, counted, err := t.count(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	probe := t.intention()
	if a := t.send(ctx, probe.body, probe.key); !a.ok() {
		if a.err != nil {
			return Report{}, fmt.Errorf("%w: it did not answer: %w", ErrUnusable, a.err)
		}
		return Report{}, fmt.Errorf("%w: it answered %d to a first request with a fresh key; give a body and headers that it accepts", ErrUnusable, a.status)
	}
	rep := Report{URL: t.URL, Counted: counted}
	for _, c := range checks {
		r := Result{Check: c.name, Promise: c.promise, Verdict: Unclear}
		before, _, err := t.count(ctx)
		if err == nil {
			c.try(ctx, &t, &r)
			err = t.judgeCount(ctx, &r, c, before)
		}
		if err != nil {
			r.Verdict, r.Detail = Unclear, err.Error()
		}
		rep.Results = append(rep.Results, r)
		if progress != nil {
			progress(r)
		}
		if ctx.Err() != nil {
			return rep, fmt.Errorf("stopped after %s: %w", c.name, context.Cause(ctx))
		}
	}
	return rep, nil
}

// judgeCount lets the count overrule what the answers look like.
func (t *Target) judgeCount(ctx context.Context, r *Result, c check, before int) error {
	after, counted, err := t.count(ctx)
	if err != nil || !counted {
		return err
	}
	n := after - before
	r.Effects = &n
	switch {
	case n > c.effects:
		r.Verdict = Broken
		r.Detail = fmt.Sprintf("%d effects where there may be %d; %s", n, c.effects, r.Detail)
	case n < c.effects && r.Verdict == Kept:
		r.Verdict = Unclear
		r.Detail = fmt.Sprintf("%d effects where %d were expected; %s", n, c.effects, r.Detail)
	}
	return nil
}

// found sets the result and keeps what was seen.
func (r *Result) found(v Verdict, format string, args ...any) {
	r.Verdict, r.Detail = v, fmt.Sprintf(format, args...)
}

func (r *Result) see(answers ...answer) {
	for _, a := range answers {
		r.Seen = append(r.Seen, a.String())
	}
}
