package groupcommit_test

import (
	"context"
	"errors"
	"testing"

	"github.com/onceguard/onceguard/internal/groupcommit"
)

func TestBatchIsBounded(t *testing.T) {
	d := newDesk(t, groupcommit.Options[int, *member]{MaxBatch: 3, MaxBytes: 100})
	all := []<-chan error{d.call(t.Context(), &member{key: 0})}
	d.expect(t, 0)
	for i, size := range []int{1, 1, 1, 60, 41, 500, 1} {
		all = append(all, d.call(t.Context(), &member{key: i + 1, size: size}))
		d.until(t, waiting(i+1))
	}
	for _, want := range [][]int{{1, 2, 3}, {4}, {5}, {6}, {7}} {
		d.end <- nil
		d.expect(t, want...)
	}
	d.end <- nil
	all = append(all, d.call(t.Context(), &member{key: 1}, &member{key: 2}, &member{key: 3}, &member{key: 4}))
	d.expect(t, 1, 2, 3)
	d.end <- nil
	d.expect(t, 4)
	d.end <- nil
	all = append(all, d.call(t.Context(), &member{key: 1, size: 60}, &member{key: 2, size: 60}))
	d.expect(t, 1)
	d.end <- nil
	d.expect(t, 2)
	d.end <- nil
	for _, done := range all {
		ok(t, done)
	}
}

func TestBackPressure(t *testing.T) {
	for name, o := range map[string]groupcommit.Options[int, *member]{
		"members": {MaxWaiting: 2},
		"bytes":   {MaxWaitingBytes: 20},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, o)
			all := []<-chan error{d.call(t.Context(), &member{key: 0})}
			d.expect(t, 0)
			for i := 1; i <= 2; i++ {
				all = append(all, d.call(t.Context(), &member{key: i, size: 10}))
				d.until(t, waiting(i))
			}
			outside := func(n int) func(groupcommit.Stats) bool {
				return func(s groupcommit.Stats) bool { return s.Outside == n && s.Waiting == 2 }
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			gone := d.call(ctx, &member{key: 3, size: 10})
			d.until(t, outside(1))
			all = append(all, d.call(t.Context(), &member{key: 4, size: 10}))
			d.until(t, outside(2))
			if s := d.Stats(); name == "bytes" && s.Bytes != 20 {
				t.Errorf("%d bytes wait, want 20", s.Bytes)
			}
			tired := errors.New("tired")
			cancel(tired)
			var left *groupcommit.LeftError
			if err := <-gone; !errors.As(err, &left) || left.Started || !left.Full || !errors.Is(err, tired) {
				t.Errorf("the call that found no room was told %v", err)
			}
			d.end <- nil
			d.expect(t, 1, 2)
			d.end <- nil
			d.expect(t, 4)
			d.end <- nil
			for _, done := range all {
				ok(t, done)
			}
			if s := d.Stats(); s.Refused != 1 || s.Left != 1 || s.Outside != 0 || s.Bytes != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
