package onceguard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onceguard/onceguard/internal/bootclock"
	"github.com/onceguard/onceguard/internal/fault"
	"github.com/onceguard/onceguard/internal/mutant"
)

// Reconcilable is an Action with a Reconcile lookup.
type Reconcilable interface{ lookup() lookup }

// lookup is an action's Reconcile in untyped form.
type lookup struct {
	action string
	quiet  time.Duration
	limits Limits
	ask    func(ctx context.Context, c *core, q Query) (Finding, Result, string, error)
}

func (a Action[In, Out]) lookup() lookup {
	l := lookup{action: a.Name, quiet: a.QuietPeriod, limits: a.Limits}
	if a.Reconcile == nil {
		return l
	}
	l.ask = func(ctx context.Context, c *core, q Query) (f Finding, res Result, reason string, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the lookup panicked: %v", p)
			}
		}()
		v, err := a.Reconcile(ctx, q)
		if err != nil || v.Finding != Happened {
			return v.Finding, Result{Missing: BodyNotKept}, v.Reason, err
		}
		body, err := c.opts.Codec.Encode(v.Value)
		if err != nil {
			return Happened, Result{Missing: BodyUnstorable}, v.Reason, nil
		}
		return Happened, NewResult(fmt.Sprintf("%s %T", c.opts.Codec.Name(), v.Value), body), v.Reason, nil
	}
	return l
}

// ReconcilerOptions tune a Reconciler. The zero value works.
type ReconcilerOptions struct {
	Every       time.Duration // pause between passes; default 15 s
	MinAge      time.Duration // do not ask before the record is uncertain for so long; default 0
	Timeout     time.Duration // of one lookup; default 30 s
	MaxBackoff  time.Duration // between lookups about one request; default 15 min
	Concurrency int           // lookups at once; default 4
}

// Reconciler asks registered actions about uncertain requests, in the
// background. Several processes may run one: every verdict is a
// compare-and-set on the attempt that was asked about.
type Reconciler struct {
	g       *Guard
	opts    ReconcilerOptions
	lookups map[string]lookup

	mu   sync.Mutex
	seen map[RequestID]*asked
}

// asked is what this process remembers of its lookups about one request.
type asked struct {
	attempt int64
	first   bootclock.Instant // when this attempt was first seen uncertain
	last    bootclock.Instant // of the latest lookup
	pause   time.Duration     // after last
	tries   int
}

// ReconcileStats counts what one pass did.
type ReconcileStats struct {
	Uncertain    int // records looked at
	Asked        int
	Settled      int
	Unregistered int // of actions without a registered lookup; left alone
	Failed       int // lookups or store calls that failed; asked again later
}

// Reconciler makes one for the given actions. An action without a Reconcile
// function is an error, since it would silently never be asked.
func (g *Guard) Reconciler(opts ReconcilerOptions, actions ...Reconcilable) (*Reconciler, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&opts.Every, 15*time.Second)
	def(&opts.Timeout, 30*time.Second)
	def(&opts.MaxBackoff, 15*time.Minute)
	if opts.Concurrency == 0 {
		opts.Concurrency = 4
	}
	r := &Reconciler{g: g, opts: opts, lookups: map[string]lookup{}, seen: map[RequestID]*asked{}}
	for _, a := range actions {
		l := a.lookup()
		if l.ask == nil {
			return nil, &Error{Code: ErrInvalid, Action: l.action, Reason: "the action has no Reconcile function"}
		}
		l.limits = l.limits.or(g.opts.Limits)
		r.lookups[l.action] = l
	}
	return r, nil
}

// Run asks until ctx ends; it then returns ctx's error. Failures are told to
// the observer and tried again.
func (r *Reconciler) Run(ctx context.Context) error {
	for {
		if _, err := r.Once(ctx); err != nil && ctx.Err() == nil {
			r.g.observe(ctx, Event{Kind: EventStoreRetry, Detail: "reconciler", Err: err})
		}
		t := time.NewTimer(jitter(r.opts.Every))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// Once makes one pass over the uncertain records.
func (r *Reconciler) Once(ctx context.Context) (ReconcileStats, error) {
	var (
		stats ReconcileStats
		mu    sync.Mutex
		wg    sync.WaitGroup
		slots = make(chan struct{}, r.opts.Concurrency)
		live  = map[RequestID]bool{}
	)
	f := Filter{States: []State{Uncertain}, Limit: 200}
	for {
		page, err := r.g.store.List(ctx, f)
		if err != nil {
			wg.Wait()
			return stats, err
		}
		for _, rec := range page.Records {
			live[rec.ID] = true
			stats.Uncertain++
			l, ok := r.lookups[rec.Action]
			if !ok {
				stats.Unregistered++
				continue
			}
			if page.Now.Sub(rec.Since) < r.opts.MinAge || !r.due(rec) {
				continue
			}
			stats.Asked++
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				settled, err := r.ask(ctx, l, rec.ID)
				mu.Lock()
				defer mu.Unlock()
				if settled {
					stats.Settled++
				}
				if err != nil {
					stats.Failed++
					r.g.observe(ctx, Event{Kind: EventWarning, RequestID: rec.ID, Scope: rec.Scope, Action: rec.Action, Attempt: rec.Attempt, State: rec.State, Detail: "lookup", Err: err})
				}
			})
		}
		if page.Next == "" {
			break
		}
		f.Cursor = page.Next
	}
	wg.Wait()
	r.forget(live)
	return stats, nil
}

// Ask asks about one request now, without regard to backoff, and reports
// whether the answer settled it. A request that is not uncertain is left alone;
// one whose action is not registered is an error.
func (r *Reconciler) Ask(ctx context.Context, id RequestID) (settled bool, err error) {
	answers, err := r.g.store.Get(ctx, []RequestID{id})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return false, err
	}
	rec := answers[0].Record
	if rec.State != Uncertain {
		return false, nil
	}
	l, ok := r.lookups[rec.Action]
	if !ok {
		return false, &Error{Code: ErrInvalid, RequestID: id, Action: rec.Action, Key: rec.Key, Store: r.g.name, MayHaveRun: true, Reason: "no lookup is registered for this action"}
	}
	r.due(rec)
	return r.ask(ctx, l, id)
}

// due reports whether rec may be asked about now, by this process's own clock.
func (r *Reconciler) due(rec Record) bool {
	now, err := r.g.opts.clock.Now()
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seen[rec.ID]
	if s == nil || s.attempt != rec.Attempt {
		r.seen[rec.ID] = &asked{attempt: rec.Attempt, first: now, last: now}
		return true
	}
	since, err := s.last.Elapsed()
	return err == nil && since >= s.pause
}

func (r *Reconciler) forget(live map[RequestID]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.seen {
		if !live[id] {
			delete(r.seen, id)
		}
	}
}

// watched is how long this process has watched this very attempt stay
// uncertain; zero if it has not.
func (r *Reconciler) watched(rec Record) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seen[rec.ID]
	if s == nil || s.attempt != rec.Attempt {
		return 0
	}
	d, err := s.first.Elapsed()
	if err != nil {
		return 0
	}
	return d
}

// backOff spaces out lookups about a request, counted from the end of each.
func (r *Reconciler) backOff(id RequestID) {
	now, err := r.g.opts.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.seen[id]; err == nil && s != nil {
		s.tries++
		s.last, s.pause = now, jitter(min(r.opts.MaxBackoff, time.Second<<min(s.tries, 20)))
	}
}

// found is what a lookup said.
type found struct {
	finding Finding
	result  Result
	reason  string
	err     error
}

// consult runs one lookup, for the time that it is given and no longer: one
// that does not heed its context must not keep the reconciler from all others.
// What it says after that is lost; it will be asked again.
func (r *Reconciler) consult(ctx context.Context, l lookup, q Query) found {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	said := make(chan found, 1)
	go func() {
		f := found{err: errors.New("the lookup ended its goroutine (runtime.Goexit)")}
		defer func() { said <- f }()
		f.finding, f.result, f.reason, f.err = l.ask(ctx, r.g.core, q)
	}()
	select {
	case f := <-said:
		if len(f.result.Body) > l.limits.MaxResult {
			f.result = Result{Type: f.result.Type, Digest: f.result.Digest, Missing: BodyTooLarge}
		}
		return f
	case <-ctx.Done():
		return found{err: fmt.Errorf("the lookup did not answer within %s: %w", r.opts.Timeout, ctx.Err())}
	}
}

// ask reads the record in one statement, asks, and settles by compare-and-set
// on what was read.
func (r *Reconciler) ask(ctx context.Context, l lookup, id RequestID) (bool, error) {
	answers, err := r.g.store.Get(ctx, []RequestID{id})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return false, err
	}
	rec := answers[0].Record
	if rec.State != Uncertain {
		return false, nil
	}
	q, err := r.g.query(ctx, rec, answers[0].Now)
	if err != nil {
		return false, err
	}
	// Before the lookup: what it sees may be as old as its start.
	watched := r.watched(rec)
	fault.Point("reconcile.before")
	f := r.consult(ctx, l, q)
	fault.Point("reconcile.after")
	r.backOff(id)
	reason := f.reason
	if err = f.err; err != nil {
		f.finding, reason = Unknown, err.Error()
	}
	res := Resolution{ID: id, Attempt: rec.Attempt, Who: ByReconciler, Reason: reason, Result: f.result}
	switch f.finding {
	case Happened:
		res.Verdict = ResolveHappened
	case WasRefused:
		res.Verdict = ResolveRefused
	case NeverWill:
		res.Verdict = ResolveNeverWill
	case NotSeen:
		res.Verdict, res.Reason = ResolveNote, "not seen: "+reason
		if mutant.On("not-seen-is-never-will") {
			res.Verdict = ResolveNeverWill
		}
		if l.quiet > 0 && watched > l.limits.Lease+l.limits.MaxRun+l.quiet {
			res.Verdict = ResolveNeverWill
			res.Reason = fmt.Sprintf("not seen after a quiet period of %s (timing assumption): %s", l.limits.Lease+l.limits.MaxRun+l.quiet, reason)
		}
	default:
		res.Verdict, res.Reason = ResolveNote, "unknown: "+reason
	}
	_, rerr := r.g.resolve(ctx, res)
	if rerr != nil {
		return false, rerr
	}
	return res.Verdict != ResolveNote, err
}
