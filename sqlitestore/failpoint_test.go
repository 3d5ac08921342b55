//go:build failpoint

package sqlitestore_test

import (
	"path/filepath"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/fault"
)

// An error before the commit is surely not written. One after it is written,
// and asking again with the same token settles the doubt.
func TestFailpoints(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	inject := func(rule string) func() {
		restore, err := fault.SetRules(rule)
		must(t, err)
		return restore
	}
	for _, c := range []struct {
		point   string
		written bool
	}{{"before-commit", false}, {"after-commit", true}} {
		t.Run("claim "+c.point, func(t *testing.T) {
			mine := request(t, c.point)
			restore := inject("store.claim." + c.point + "=error")
			_, err := s.Claim(ctx, []onceguard.Claim{mine})
			restore()
			storeErr(t, err, !c.written, false)
			want := onceguard.T1
			if c.written {
				want = onceguard.T2
			}
			if a := claim(t, s, mine); a.Transition != want || a.Record.Attempt != 1 {
				t.Errorf("asked again: %s by %s, want %s", a.Outcome, a.Transition, want)
			}
		})
		t.Run("settle "+c.point, func(t *testing.T) {
			mine := grant(t, s, "settle "+c.point)
			restore := inject("store.settle." + c.point + "=error")
			_, err := s.Settle(ctx, []onceguard.Settlement{success(mine, []byte("paid"))})
			restore()
			storeErr(t, err, !c.written, false)
			if r := get(t, s, mine.ID); (r.State == onceguard.Succeeded) != c.written {
				t.Errorf("the record is %s", r.State)
			}
			if a := settle(t, s, success(mine, []byte("paid"))); a.Outcome != onceguard.Settled || !a.Mine {
				t.Errorf("asked again: %s by %s", a.Outcome, a.Transition)
			}
		})
	}
	for point, written := range map[string]bool{"before": false, "after": true} {
		t.Run("renew "+point, func(t *testing.T) {
			mine := grant(t, s, "renew "+point)
			until := get(t, s, mine.ID).LeaseUntil
			restore := inject("store.renew." + point + "=error")
			_, err := s.Renew(ctx, []onceguard.Renewal{{ID: mine.ID, Attempt: 1, Owner: mine.Owner, Lease: 2 * mine.Lease}})
			restore()
			storeErr(t, err, !written, false)
			if longer := get(t, s, mine.ID).LeaseUntil.After(until); longer != written {
				t.Errorf("the lease is longer: %v, want %v", longer, written)
			}
		})
	}
}

// A failpoint belongs to the member that passes it, not to its batch.
func TestFailpointsInABatch(t *testing.T) {
	for _, c := range []struct {
		point   string
		written bool
	}{{"before-commit", false}, {"after-commit", true}} {
		t.Run(c.point, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
			held, mine := grant(t, s, "held"), request(t, "mine")
			restore, err := fault.SetRules("store.claim." + c.point + "=error")
			must(t, err)
			defer restore()
			before := s.Stats().Batches
			batched(t, s, nil,
				func() { _, err = s.Claim(ctx, []onceguard.Claim{mine}) },
				func() {
					if a := settle(t, s, success(held, []byte("paid"))); a.Transition != onceguard.T7 {
						t.Errorf("the neighbour is %s by %s", a.Outcome, a.Transition)
					}
				})
			if n := s.Stats().Batches - before; n != 2 {
				t.Errorf("%d batches: they did not travel together", n)
			}
			storeErr(t, err, !c.written, false)
			if r := get(t, s, mine.ID); (r.State == onceguard.Claimed) != c.written {
				t.Errorf("the claim is %s", r.State)
			}
			if r := get(t, s, held.ID); r.State != onceguard.Succeeded {
				t.Errorf("the neighbour is %s", r.State)
			}
		})
	}
}
