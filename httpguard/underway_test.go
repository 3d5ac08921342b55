package httpguard

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestUnderway: exchanges may begin and end while others wait for them.
func TestUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u underway
		if err := u.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		ends := []chan struct{}{make(chan struct{}), make(chan struct{})}
		u.Go(func() { <-ends[0] })
		waited := make(chan error, 2)
		for range 2 {
			go func() { waited <- u.wait(t.Context()) }()
		}
		synctest.Wait()
		u.Go(func() { <-ends[1] }) // the second begins while they wait
		close(ends[0])
		synctest.Wait()
		if len(waited) != 0 {
			t.Fatal("a wait ended with an exchange under way")
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		if err := u.wait(ctx); err != gone {
			t.Errorf("a wait whose context is over: %v", err)
		}
		close(ends[1])
		for range 2 {
			if err := <-waited; err != nil {
				t.Error(err)
			}
		}
		u.Go(func() {}) // and again from zero
		if err := u.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
