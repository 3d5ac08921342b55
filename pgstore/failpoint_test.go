//go:build failpoint

package pgstore_test

import (
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/fault"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// Each failpoint is reached, on the way without a lock and on the one with it,
// and an error at it counts as an unknown outcome.
func TestFailpoints(t *testing.T) {
	url := migrated(t, pgtest.Server(t))
	s := open(t, url, nil)
	arm := func(t *testing.T, rule string) {
		t.Helper()
		restore, err := fault.SetRules(rule)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(restore)
	}
	for point, again := range map[string]onceguard.Transition{"before": onceguard.T1, "after": onceguard.T2} {
		t.Run("claim "+point, func(t *testing.T) {
			c := newClaim(t)
			arm(t, "store.claim."+point+"-commit@1=error")
			_, err := claim1(s, c)
			storeError(t, err, false, false)
			mustClaim(t, s, c, onceguard.Granted, again)
		})
	}
	for point, again := range map[string]onceguard.Transition{"before": onceguard.T4, "after": onceguard.T2} {
		t.Run("takeover "+point, func(t *testing.T) {
			c := newClaim(t, under(onceguard.Rerun), leased(time.Millisecond))
			mustClaim(t, s, c, onceguard.Granted, onceguard.T1)
			pgtest.WaitFor(t, url, "SELECT lease_until < clock_timestamp() FROM onceguard_receipt WHERE request_id = $1", c.ID[:])
			c = another(c)
			arm(t, "store.claim."+point+"-commit@2=error")
			_, err := claim1(s, c)
			storeError(t, err, false, false)
			mustClaim(t, s, c, onceguard.Granted, again)
		})
	}
	for point, again := range map[string]onceguard.Transition{"before": onceguard.T7, "after": onceguard.NoTransition} {
		t.Run("settle "+point, func(t *testing.T) {
			c := newClaim(t)
			mustClaim(t, s, c, onceguard.Granted, onceguard.T1)
			arm(t, "store.settle."+point+"-commit@1=error")
			_, err := only(s.Settle(ctx, []onceguard.Settlement{success(c, 1)}))
			storeError(t, err, false, false)
			mustSettle(t, s, success(c, 1), onceguard.Settled, again)
		})
		t.Run("renew "+point, func(t *testing.T) {
			c := newClaim(t)
			mustClaim(t, s, c, onceguard.Granted, onceguard.T1)
			arm(t, "store.renew."+point+"@1=error")
			_, err := only(s.Renew(ctx, []onceguard.Renewal{{ID: c.ID, Attempt: 1, Owner: c.Owner, Lease: time.Hour}}))
			storeError(t, err, false, false)
		})
	}
}
