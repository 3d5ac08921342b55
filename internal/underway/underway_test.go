package underway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestCount: work may begin and end while others wait for them.
func TestCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u Count
		if err := u.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		ends := []chan struct{}{make(chan struct{}), make(chan struct{})}
		u.Go(func() { <-ends[0] })
		waited := make(chan error, 2)
		for range 2 {
			go func() { waited <- u.Wait(t.Context()) }()
		}
		synctest.Wait()
		u.Go(func() { <-ends[1] }) // the second begins while they wait
		close(ends[0])
		synctest.Wait()
		if len(waited) != 0 {
			t.Fatal("a wait ended with work under way")
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		if err := u.Wait(ctx); err != gone {
			t.Errorf("a wait whose context is over: %v", err)
		}
		close(ends[1])
		for range 2 {
			if err := <-waited; err != nil {
				t.Error(err)
			}
		}
		u.Go(func() {}) // and again from zero
		if err := u.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
