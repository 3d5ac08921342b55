//go:build failpoint

package fault_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard/internal/fault"
)

func TestHook(t *testing.T) {
	want := errors.New("mine")
	calls := 0
	remove := fault.SetHook("spool.before-write", func() error { calls++; return want })
	if err := fault.PointErr("spool.before-write"); !errors.Is(err, want) {
		t.Errorf("got %v, want the hook's error", err)
	}
	if err := fault.PointErr("spool.after-write"); err != nil {
		t.Errorf("another point returned %v", err)
	}
	remove()
	if err := fault.PointErr("spool.before-write"); err != nil {
		t.Errorf("after removal: %v", err)
	}
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}

func TestSetRules(t *testing.T) {
	if _, err := fault.SetRules("nowhere=kill"); err == nil {
		t.Error("an unknown point was accepted")
	}
	restore, err := fault.SetRules("store.claim.before-commit@2=error")
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	for range 3 {
		got = append(got, errors.Is(fault.PointErr("store.claim.before-commit"), fault.ErrInjected))
	}
	if got[0] || !got[1] || got[2] {
		t.Errorf("injected %v, want the second alone", got)
	}
	restore()
	for range 2 {
		if err := fault.PointErr("store.claim.before-commit"); err != nil {
			t.Errorf("after restore: %v", err)
		}
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		restore, err := fault.SetRules("guard.effect.before=delay:3s")
		if err != nil {
			t.Fatal(err)
		}
		defer restore()
		start := time.Now()
		fault.Point("guard.effect.before")
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("held for %v, want 3s", got)
		}
	})
}
