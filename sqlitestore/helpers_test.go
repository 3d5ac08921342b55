package sqlitestore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
)

var ctx = context.Background()

// quiet are options for tests: no log, and a reserve that small disks have.
func quiet() *sqlitestore.Options {
	return &sqlitestore.Options{Reserve: 1 << 20, Log: slog.New(slog.DiscardHandler)}
}

// request is the claim of a new request; of the same one for the same name.
func request(t testing.TB, name string) onceguard.Claim {
	t.Helper()
	key := onceguard.KeyOf("order", name)
	id, err := onceguard.NewRequestID("default", "refund.create", key)
	if err != nil {
		t.Fatal(err)
	}
	c := onceguard.Claim{
		ID: id, Scope: "default", Action: "refund.create", Key: key.Encoded(),
		Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "k1", Sum: onceguard.NewResult("", []byte(name)).Digest}},
		Process:      "host/1", Lease: time.Hour, ResultRetention: time.Hour, IdentityRetention: 24 * time.Hour,
	}
	_, _ = rand.Read(c.Owner[:]) // never fails
	return c
}

func claim(t testing.TB, s onceguard.Store, c onceguard.Claim) onceguard.Answer {
	t.Helper()
	list, err := s.Claim(ctx, []onceguard.Claim{c})
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return list[0]
}

func grant(t testing.TB, s onceguard.Store, name string) onceguard.Claim {
	t.Helper()
	c := request(t, name)
	if a := claim(t, s, c); a.Outcome != onceguard.Granted {
		t.Fatalf("claim of %s is %s (%v), want granted", name, a.Outcome, a.Err)
	}
	return c
}

func success(c onceguard.Claim, body []byte) onceguard.Settlement {
	return onceguard.Settlement{ID: c.ID, Attempt: 1, Owner: c.Owner, Verb: onceguard.SettleSucceeded, Result: onceguard.NewResult("refund/1", body)}
}

func settle(t testing.TB, s onceguard.Store, n onceguard.Settlement) onceguard.Answer {
	t.Helper()
	list, err := s.Settle(ctx, []onceguard.Settlement{n})
	if err != nil {
		t.Fatalf("settle: %v", err)
	}
	return list[0]
}

func get(t testing.TB, s onceguard.Store, id onceguard.RequestID) onceguard.Record {
	t.Helper()
	list, err := s.Get(ctx, []onceguard.RequestID{id})
	if err != nil || list[0].Err != nil {
		t.Fatalf("get: %v, %v", err, list)
	}
	return list[0].Record
}

// storeErr expects a *StoreError with these properties.
func storeErr(t testing.TB, err error, clean, permanent bool) *onceguard.StoreError {
	t.Helper()
	var se *onceguard.StoreError
	if !errors.As(err, &se) {
		t.Fatalf("error is %T (%v), want a *StoreError", err, err)
	}
	if se.Clean != clean || se.Permanent != permanent {
		t.Fatalf("clean %v, permanent %v; want %v, %v: %v", se.Clean, se.Permanent, clean, permanent, err)
	}
	return se
}
