package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// Bench measures the store that open returns, in one run and on one machine:
// claim and settle of new requests at 1, 8 and 64 callers, and replays of one
// settled request. With Harness.Naive the same load runs on the two statements
// that people write without a guard, as naive/callers=N beside
// guarded/callers=N. Compare with benchstat over ten runs.
func Bench(b *testing.B, open func(b *testing.B) Harness) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("guarded/callers=", callers), func(b *testing.B) {
			h := open(b)
			spread(b, callers, func() error { return claimAndSettle(h.Store) })
		})
		b.Run(fmt.Sprint("naive/callers=", callers), func(b *testing.B) {
			h := open(b)
			if h.Naive == nil {
				b.Skip("the harness has no Naive")
			}
			claim, settle := h.Naive(b)
			spread(b, callers, func() error {
				id := newID()
				if err := claim(id); err != nil {
					return err
				}
				return settle(id)
			})
		})
		b.Run(fmt.Sprint("replay/callers=", callers), func(b *testing.B) {
			h := open(b)
			c := benchClaim()
			if err := run(h.Store, c); err != nil {
				b.Fatal(err)
			}
			spread(b, callers, func() error {
				list, err := h.Store.Get(context.Background(), []onceguard.RequestID{c.ID})
				if err == nil && list[0].Record.State != onceguard.Succeeded {
					err = fmt.Errorf("read %s", list[0].Record.State)
				}
				return err
			})
		})
	}
}

// spread runs b.N operations on a number of callers.
func spread(b *testing.B, callers int, op func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := op(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func newID() (id onceguard.RequestID) {
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return id
}

func benchClaim() onceguard.Claim {
	id := newID()
	return onceguard.Claim{
		ID: id, Scope: "default", Action: "refund.create", Key: "order=" + id.String(),
		Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "k1"}}, Owner: onceguard.Token(id[:16]), Process: "host/1", Lease: time.Hour,
		ResultRetention: 24 * time.Hour, IdentityRetention: 24 * time.Hour,
	}
}

func claimAndSettle(s onceguard.Store) error { return run(s, benchClaim()) }

func run(s onceguard.Store, c onceguard.Claim) error {
	list, err := s.Claim(context.Background(), []onceguard.Claim{c})
	if err == nil {
		err = list[0].Err
	}
	if err == nil && list[0].Outcome != onceguard.Granted {
		err = fmt.Errorf("claim answered %s", list[0].Outcome)
	}
	if err != nil {
		return err
	}
	list, err = s.Settle(context.Background(), []onceguard.Settlement{{
		ID: c.ID, Attempt: 1, Owner: c.Owner, Verb: onceguard.SettleSucceeded, Result: onceguard.NewResult("refund/1", []byte(`{"paid":true}`)),
	}})
	if err == nil {
		err = list[0].Err
	}
	if err == nil && list[0].Outcome != onceguard.Settled {
		err = fmt.Errorf("settle answered %s", list[0].Outcome)
	}
	return err
}
