package httpverify

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// first sends a request that must be accepted; otherwise the check says nothing.
func first(ctx context.Context, t *Target, r *Result, in intention) (answer, bool) {
	a := t.send(ctx, in.body, in.key)
	r.see(a)
	if !a.ok() {
		r.found(Unclear, "the first request got %s, so there was nothing to repeat", a)
	}
	return a, a.ok()
}

func tryReplay(ctx context.Context, t *Target, r *Result) {
	in := t.intention()
	a, ok := first(ctx, t, r, in)
	if !ok {
		return
	}
	b := t.settled(ctx, in.body, in.key)
	r.see(b)
	switch {
	case b.err != nil || b.status != a.status:
		r.found(Broken, "the retry got %s, the first request %s", b, a)
	case b.body != a.body:
		r.found(Broken, "the retry got other bytes: it ran again, or the answer was built anew")
	case b.header.Get("Idempotent-Replayed") == "":
		r.found(Kept, "same status and bytes; the replay is not marked")
	default:
		r.found(Kept, "same status and bytes, marked as a replay")
	}
}

func tryReplayHeaders(ctx context.Context, t *Target, r *Result) {
	in := t.intention()
	if _, ok := first(ctx, t, r, in); !ok {
		return
	}
	b := t.settled(ctx, in.body, in.key)
	r.see(b)
	switch {
	case !b.ok():
		r.found(Unclear, "there was no replay to look at")
	case len(b.header["Set-Cookie"]) > 0:
		r.found(Broken, "the replay sets a cookie")
	default:
		r.found(Kept, "no cookie")
	}
}

func tryKeysApart(ctx context.Context, t *Target, r *Result) {
	if _, ok := first(ctx, t, r, t.intention()); !ok {
		return
	}
	b, ok := first(ctx, t, r, t.intention())
	switch {
	case !ok:
		r.found(Unclear, "the second request, with a key of its own, got %s; put %s into the body where it must be unique", b, Unique)
	case b.header.Get("Idempotent-Replayed") == "true":
		r.found(Broken, "a fresh key got a replay")
	default:
		r.found(Kept, "both were accepted as first requests")
	}
}

func tryMismatch(ctx context.Context, t *Target, r *Result) {
	in := t.intention()
	a, ok := first(ctx, t, r, in)
	if !ok {
		return
	}
	b := t.settled(ctx, in.other, in.key)
	r.see(b)
	switch {
	case b.err != nil:
		r.found(Unclear, "no answer to the other payload: %v", b.err)
	case b.ok() && b.body == a.body:
		r.found(Broken, "the other payload got the first one's answer: its sender believes that it was done")
	case b.ok():
		r.found(Broken, "the other payload was accepted: one key stands for two operations")
	case b.status == http.StatusUnprocessableEntity:
		r.found(Kept, "422")
	case b.status >= 400 && b.status < 500:
		r.found(Kept, "%d, where the draft has 422", b.status)
	default:
		r.found(Unclear, "%s says neither yes nor no", b)
	}
}

// atOnce sends bodies at once, under one key.
func atOnce(ctx context.Context, t *Target, key string, bodies []string) []answer {
	answers := make([]answer, len(bodies))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i, body := range bodies {
		wg.Go(func() {
			<-start
			answers[i] = t.send(ctx, body, key)
		})
	}
	close(start)
	wg.Wait()
	return answers
}

func tryConcurrent(ctx context.Context, t *Target, r *Result) {
	in := t.intention()
	bodies := make([]string, t.Parallel)
	for i := range bodies {
		bodies[i] = in.body
	}
	answers := append(atOnce(ctx, t, in.key, bodies), t.settled(ctx, in.body, in.key))
	r.see(answers...)
	last := answers[len(answers)-1]
	if !last.ok() {
		r.found(Broken, "after the race the key gets %s: its answer is lost", last)
		return
	}
	told, refused := 0, 0
	for _, a := range answers {
		switch {
		case a.ok() && a.body == last.body && a.status == last.status:
			told++
		case a.ok():
			r.found(Broken, "two accepted answers differ: more than one copy ran, or the answer was built anew")
			return
		case a.err == nil && (a.status == http.StatusConflict || a.status == http.StatusTooEarly || a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable):
			refused++
		default:
			r.found(Broken, "a copy got %s, which tells its sender neither the answer nor to try again with the same key", a)
			return
		}
	}
	r.found(Kept, "%d got the answer, %d were told to try again", told, refused)
}

func tryConcurrentMismatch(ctx context.Context, t *Target, r *Result) {
	in := t.intention()
	answers := atOnce(ctx, t, in.key, []string{in.body, in.other})
	r.see(answers...)
	switch {
	case answers[0].ok() && answers[1].ok():
		r.found(Broken, "both payloads were accepted under one key")
	case answers[0].ok() || answers[1].ok():
		r.found(Kept, "one was accepted")
	default:
		r.found(Unclear, "neither was accepted")
	}
}

// tryAnswerLost sends a whole request and drops the connection before the answer.
func tryAnswerLost(ctx context.Context, t *Target, r *Result) {
	in := t.intention()
	sctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wrote := false
	sctx = httptrace.WithClientTrace(sctx, &httptrace.ClientTrace{WroteRequest: func(i httptrace.WroteRequestInfo) {
		wrote = i.Err == nil
		cancel()
	}})
	lost := t.send(sctx, in.body, in.key)
	r.see(lost)
	if !wrote {
		r.found(Unclear, "the request was not sent: %v", lost.err)
		return
	}
	b := t.settled(ctx, in.body, in.key)
	c := t.settled(ctx, in.body, in.key)
	r.see(b, c)
	switch {
	case !b.ok():
		r.found(Broken, "the retry got %s", b)
	case b.body != c.body || b.status != c.status:
		r.found(Broken, "two retries got different answers")
	case t.CountURL == "" && b.header.Get("Idempotent-Replayed") == "":
		r.found(Unclear, "the retries agree; without a count of effects or a mark nobody sees whether the first of them ran the operation again")
	default:
		r.found(Kept, "the retry got the answer")
	}
}

func tryKeyRepeated(ctx context.Context, t *Target, r *Result) {
	in := t.intention()
	refusedOr(r, t.send(ctx, in.body, in.key, in.key+"-2"), "a request with two keys was accepted; which of them protects it?")
}

func tryKeyMissing(ctx context.Context, t *Target, r *Result) {
	refusedOr(r, t.send(ctx, t.intention().body), "a request without a key was accepted: nothing protects its retry")
}

func refusedOr(r *Result, a answer, broken string) {
	r.see(a)
	switch {
	case a.err != nil:
		r.found(Unclear, "no answer: %v", a.err)
	case a.ok():
		r.found(Broken, "%s", broken)
	case a.status == http.StatusBadRequest:
		r.found(Kept, "400")
	case a.status >= 400 && a.status < 500:
		r.found(Kept, "%d, where the draft has 400", a.status)
	default:
		r.found(Unclear, "%s says neither yes nor no", a)
	}
}

// settled sends a retry until it is told something other than "in progress",
// within the target's timeout.
func (t *Target) settled(ctx context.Context, body, key string) answer {
	deadline := time.NewTimer(t.Timeout)
	defer deadline.Stop()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		a := t.send(ctx, body, key)
		if a.err == nil && a.status != http.StatusConflict && a.status != http.StatusTooEarly && a.status != http.StatusServiceUnavailable {
			return a
		}
		select {
		case <-time.After(pause):
		case <-deadline.C:
			return a
		case <-ctx.Done():
			return a
		}
	}
}
