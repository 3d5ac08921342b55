//go:build !race

package pgstore_test

import (
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// What a batch costs the program, for each claim and its outcome. Counts, unlike
// times, are the same on every machine.
func TestAllocationsOfABatch(t *testing.T) {
	s := open(t, migrated(t, pgtest.Server(t)), nil)
	for _, x := range []struct{ members, most int }{{1, 95}, {64, 12}} {
		const runs = 20
		next := 0
		claims := make([][]onceguard.Claim, runs+1) // AllocsPerRun warms up with one more
		outcomes := make([][]onceguard.Settlement, runs+1)
		for i := range claims {
			for range x.members {
				c := newClaim(t)
				claims[i] = append(claims[i], c)
				outcomes[i] = append(outcomes[i], success(c, 1))
			}
		}
		all := testing.AllocsPerRun(runs, func() {
			if _, err := s.Claim(ctx, claims[next]); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Settle(ctx, outcomes[next]); err != nil {
				t.Fatal(err)
			}
			next++
		})
		each := all / float64(x.members)
		t.Logf("%d in a batch: %.1f allocations for each claim and its outcome", x.members, each)
		if each > float64(x.most) {
			t.Errorf("%d in a batch: %.1f allocations for each claim and its outcome, at most %d", x.members, each, x.most)
		}
	}
}
