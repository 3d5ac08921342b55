package guardtest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/onceguard/onceguard"
)

// Succeed makes r a request that succeeded with value, so that the code under
// test meets a replay.
func Succeed[T any](t testing.TB, g *onceguard.Guard, r onceguard.Request, value T) {
	t.Helper()
	if _, err := onceguard.Do(context.Background(), g, r, ends(value, nil)); err != nil {
		t.Fatalf("guardtest: making %s %s succeeded: %v", r.Action, r.Key, err)
	}
}

// Refuse makes r a request that was refused for reason.
func Refuse(t testing.TB, g *onceguard.Guard, r onceguard.Request, reason string) {
	t.Helper()
	_, err := onceguard.Do(context.Background(), g, r, ends(struct{}{}, onceguard.Refused(errors.New(reason))))
	if !errors.Is(err, onceguard.ErrRefused) {
		t.Fatalf("guardtest: making %s %s refused: %v", r.Action, r.Key, err)
	}
}

// MakeUncertain makes r a request of which nobody knows whether it happened,
// under every policy, and returns its record.
func MakeUncertain(t testing.TB, g *onceguard.Guard, r onceguard.Request) onceguard.Record {
	t.Helper()
	if r.Policy.Kind == onceguard.SafeRetryKind || r.Policy.Kind == onceguard.RerunKind {
		r.Policy.MaxAttempts = 1 // or the next call would run it again
	}
	rec, err := onceguard.Do(context.Background(), g, r, ends(struct{}{}, errors.New("guardtest: the answer was lost")))
	if !errors.Is(err, onceguard.ErrUncertain) {
		t.Fatalf("guardtest: making %s %s uncertain: %v", r.Action, r.Key, err)
	}
	return Record(t, g, rec.RequestID)
}

// Hold claims r as another process would and keeps its effect running. end
// lets the effect end, with err as its word (nil: success with the zero value),
// and returns when the outcome is stored. The test's end ends it too.
func Hold(t testing.TB, g *onceguard.Guard, r onceguard.Request) (end func(err error)) {
	t.Helper()
	started, verdict, done := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	elsewhere := Restart(t, g)
	go func() {
		_, err := onceguard.Do(context.Background(), elsewhere, r, func(context.Context, *onceguard.Attempt) (struct{}, error) {
			close(started)
			return struct{}{}, <-verdict
		})
		done <- err
	}()
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("guardtest: holding %s %s: %v", r.Action, r.Key, err)
	}
	var once sync.Once
	end = func(err error) {
		once.Do(func() { verdict <- err; <-done })
	}
	t.Cleanup(func() { end(nil) })
	return end
}

// Record reads a request's row; its State is Absent if there is none.
func Record(t testing.TB, g *onceguard.Guard, id onceguard.RequestID) onceguard.Record {
	t.Helper()
	a, err := StoreOf(t, g).Store.Get(context.Background(), []onceguard.RequestID{id})
	if err != nil {
		t.Fatalf("guardtest: reading %s: %v", id, err)
	}
	return a[0].Record
}

func ends[T any](v T, err error) func(context.Context, *onceguard.Attempt) (T, error) {
	return func(context.Context, *onceguard.Attempt) (T, error) { return v, err }
}
