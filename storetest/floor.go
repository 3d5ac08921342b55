package storetest

import (
	"crypto/rand"
	"testing"

	"github.com/onceguard/onceguard"
)

// Floor is one claim and one settle of a fresh key, sent to the store by hand,
// and nothing else: what any durable guard must pay for. Benchmarks of adapters
// put it beside themselves in the same run.
func Floor(tb testing.TB, store onceguard.Store, key string, body []byte) {
	tb.Helper()
	raw := onceguard.RawKey(key)
	id, err := onceguard.NewRequestID("default", "floor", raw)
	if err != nil {
		tb.Fatal(err)
	}
	var token onceguard.Token
	_, _ = rand.Read(token[:])
	claim := onceguard.Claim{
		ID: id, Scope: "default", Action: "floor", Key: raw.Encoded(), Owner: token, Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "k"}},
		Lease: onceguard.DefaultLease, ResultRetention: onceguard.DefaultResultRetention, IdentityRetention: onceguard.DefaultIdentityRetention,
	}
	a, err := store.Claim(tb.Context(), []onceguard.Claim{claim})
	if err != nil || a[0].Outcome != onceguard.Granted {
		tb.Fatalf("claim: %v %v", a, err)
	}
	s := onceguard.Settlement{ID: id, Attempt: 1, Owner: token, Verb: onceguard.SettleSucceeded, Result: onceguard.NewResult("json string", body)}
	if a, err = store.Settle(tb.Context(), []onceguard.Settlement{s}); err != nil || a[0].Outcome != onceguard.Settled {
		tb.Fatalf("settle: %v %v", a, err)
	}
}
