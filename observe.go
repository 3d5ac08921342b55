package onceguard

import (
	"context"
	"log/slog"
	"time"
)

// EventKind names what an Observer is told.
type EventKind string

// The events. Those marked ! are unusual and deserve a person's eye.
const (
	EventClaimed    EventKind = "claimed"
	EventReplayed   EventKind = "replayed"
	EventSettled    EventKind = "settled"
	EventReleased   EventKind = "released"
	EventWaiting    EventKind = "waiting"
	EventUncertain  EventKind = "uncertain"   // !
	EventMismatch   EventKind = "mismatch"    // !
	EventConflict   EventKind = "conflict"    // ! T14: a late outcome differs from the receipt
	EventSuperseded EventKind = "superseded"  // ! a late outcome of an attempt that was taken over
	EventLeaseLost  EventKind = "lease-lost"  // !
	EventMaxRun     EventKind = "max-run"     // !
	EventStoreRetry EventKind = "store-retry" // ! the store did not answer clearly
	EventUnsettled  EventKind = "unsettled"   // ! the outcome is known, not yet stored
	EventFrozen     EventKind = "frozen"      // !
	EventCorrupt    EventKind = "corrupt"     // !
	EventForgotten  EventKind = "forgotten"   // ! the store lost an acknowledged claim
	EventWarning    EventKind = "warning"     // !
	EventResolved   EventKind = "resolved"
	EventSwept      EventKind = "swept"
	EventPruned     EventKind = "pruned"
)

// Event is one thing that happened. It carries no input, no result, no token.
type Event struct {
	Kind       EventKind
	RequestID  RequestID
	Scope      string
	Action     string
	Attempt    int64
	State      State
	Transition Transition
	Took       time.Duration // of the effect, for settled events
	Count      int           // swept, pruned
	Detail     string
	Err        error
}

// Observer is told of events on the goroutine where they happen; it must be
// quick and must not call the guard.
type Observer interface {
	Observe(ctx context.Context, e Event)
}

// SlogObserver logs unusual events as warnings and the rest at debug level.
// A nil logger is slog.Default.
func SlogObserver(l *slog.Logger) Observer { return slogObserver{l} }

type slogObserver struct{ l *slog.Logger }

func (s slogObserver) Observe(ctx context.Context, e Event) {
	l, level := s.l, slog.LevelDebug
	if l == nil {
		l = slog.Default()
	}
	switch e.Kind {
	case EventUncertain, EventMismatch, EventLeaseLost, EventMaxRun, EventStoreRetry, EventUnsettled, EventFrozen, EventWarning, EventSuperseded:
		level = slog.LevelWarn
	case EventConflict, EventCorrupt, EventForgotten:
		level = slog.LevelError
	}
	if !l.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("event", string(e.Kind))}
	if !e.RequestID.IsZero() {
		attrs = append(attrs, slog.String("request_id", e.RequestID.String()), slog.String("scope", e.Scope), slog.String("action", e.Action),
			slog.Int64("attempt", e.Attempt), slog.String("state", e.State.String()))
	}
	if e.Detail != "" {
		attrs = append(attrs, slog.String("detail", e.Detail))
	}
	if e.Count != 0 {
		attrs = append(attrs, slog.Int("count", e.Count))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	l.LogAttrs(ctx, level, "onceguard", attrs...)
}
