package pgstore

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

type (
	claim      = onceguard.Claim
	settlement = onceguard.Settlement
)

func testClaim(t testing.TB) claim {
	t.Helper()
	key := onceguard.KeyOf("order", rand.Text())
	id, err := onceguard.NewRequestID("default", "refund.create", key)
	if err != nil {
		t.Fatal(err)
	}
	c := claim{
		ID: id, Scope: "default", Action: "refund.create", Key: key.Encoded(),
		Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "k1", Sum: [32]byte{1}}},
		Process:      "host/1", Lease: time.Minute, ResultRetention: time.Hour, IdentityRetention: time.Hour,
	}
	rand.Read(c.Owner[:])
	return c
}

func testSuccess(c claim) settlement {
	return settlement{ID: c.ID, Attempt: 1, Owner: c.Owner, Verb: onceguard.SettleSucceeded, Result: onceguard.NewResult("x", []byte("1"))}
}
