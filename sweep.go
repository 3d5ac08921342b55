package onceguard

import (
	"context"
	"time"
)

// SweeperOptions tune a Sweeper. The zero value works.
type SweeperOptions struct {
	Every      time.Duration // between sweeps for lapsed claims; default 15 s
	PruneEvery time.Duration // between prunes; default 1 h; negative: never
	Limit      int           // rows of one store call; default 500
}

// Sweeper parks lapsed claims (T5) and prunes what is past its retention (T15).
// It is housekeeping: without one, lapsed claims are parked by the next call
// for them and nothing is forgotten. Several processes may run one.
type Sweeper struct {
	g    *Guard
	opts SweeperOptions
}

// Sweeper makes one for the guard's store, all scopes.
func (g *Guard) Sweeper(opts SweeperOptions) *Sweeper {
	if opts.Every == 0 {
		opts.Every = 15 * time.Second
	}
	if opts.PruneEvery == 0 {
		opts.PruneEvery = time.Hour
	}
	if opts.Limit == 0 {
		opts.Limit = 500
	}
	return &Sweeper{g: g, opts: opts}
}

// Run sweeps and prunes until ctx ends; it then returns ctx's error. Failures
// of the store are told to the observer and tried again.
func (s *Sweeper) Run(ctx context.Context) error {
	var pruned time.Time
	for {
		if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.g.observe(ctx, Event{Kind: EventStoreRetry, Detail: "sweep", Err: err})
		}
		if s.opts.PruneEvery > 0 && (pruned.IsZero() || time.Since(pruned) >= s.opts.PruneEvery) {
			pruned = time.Now()
			if _, err := s.Prune(ctx, false); err != nil && ctx.Err() == nil {
				s.g.observe(ctx, Event{Kind: EventStoreRetry, Detail: "prune", Err: err})
			}
		}
		t := time.NewTimer(jitter(s.opts.Every))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// Sweep parks every lapsed claim once and returns how many it parked.
func (s *Sweeper) Sweep(ctx context.Context) (int, error) {
	total := 0
	for ctx.Err() == nil {
		parked, err := s.g.store.Sweep(ctx, s.opts.Limit)
		if err != nil {
			return total, err
		}
		for _, r := range parked {
			s.g.observe(ctx, Event{Kind: EventUncertain, RequestID: r.ID, Scope: r.Scope, Action: r.Action, Attempt: r.Attempt, State: r.State, Transition: T5, Detail: r.Reason})
		}
		total += len(parked)
		if len(parked) < s.opts.Limit {
			break
		}
	}
	if total > 0 {
		s.g.observe(ctx, Event{Kind: EventSwept, Count: total})
	}
	return total, ctx.Err()
}

// Prune goes through the store once. With dryRun it counts and changes nothing.
func (s *Sweeper) Prune(ctx context.Context, dryRun bool) (Pruned, error) {
	var total Pruned
	p := PruneRequest{Limit: s.opts.Limit, DryRun: dryRun}
	for ctx.Err() == nil {
		done, err := s.g.store.Prune(ctx, p)
		if err != nil {
			return total, err
		}
		total.Looked += done.Looked
		total.Tombstoned += done.Tombstoned
		total.Deleted += done.Deleted
		if !dryRun && done.Tombstoned+done.Deleted > 0 {
			s.g.replays.clear() // a store whose clock jumped may drop more than we know of
		}
		if done.Done {
			total.Done = true
			break
		}
		p.Cursor = done.Next
	}
	if !dryRun && total.Tombstoned+total.Deleted > 0 {
		s.g.observe(ctx, Event{Kind: EventPruned, Count: total.Tombstoned + total.Deleted})
	}
	return total, ctx.Err()
}
