package pgstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
)

var ctx = context.Background()

// newClaim is a claim of a request that nobody else knows.
func newClaim(t testing.TB, change ...func(*onceguard.Claim)) onceguard.Claim {
	t.Helper()
	key := onceguard.KeyOf("order", rand.Text())
	c := onceguard.Claim{
		Scope: "default", Action: "refund.create", Key: key.Encoded(),
		Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "k1", Sum: [32]byte{1}}},
		Process:      "host/1", Lease: time.Hour,
		ResultRetention: time.Hour, IdentityRetention: 24 * time.Hour,
	}
	id, err := onceguard.NewRequestID(c.Scope, c.Action, key)
	if err != nil {
		t.Fatal(err)
	}
	c.ID = id
	c = another(c)
	for _, f := range change {
		f(&c)
	}
	return c
}

// another is another call for the same request.
func another(c onceguard.Claim) onceguard.Claim {
	rand.Read(c.Owner[:]) // never fails
	return c
}

func under(p onceguard.Policy) func(*onceguard.Claim) {
	return func(c *onceguard.Claim) { c.Policy = p }
}

func leased(d time.Duration) func(*onceguard.Claim) {
	return func(c *onceguard.Claim) { c.Lease = d }
}

// claim1 asks for one request; both kinds of failure come back.
func claim1(s onceguard.Store, c onceguard.Claim) (onceguard.Answer, error) {
	return only(s.Claim(ctx, []onceguard.Claim{c}))
}

func only(list []onceguard.Answer, err error) (onceguard.Answer, error) {
	if err != nil {
		return onceguard.Answer{}, err
	}
	return list[0], list[0].Err
}

func mustClaim(t testing.TB, s onceguard.Store, c onceguard.Claim, o onceguard.Outcome, tr onceguard.Transition) onceguard.Answer {
	t.Helper()
	a, err := claim1(s, c)
	return want(t, a, err, o, tr)
}

func want(t testing.TB, a onceguard.Answer, err error, o onceguard.Outcome, tr onceguard.Transition) onceguard.Answer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if a.Outcome != o || a.Transition != tr {
		t.Fatalf("answered %s by %s, want %s by %s (record %s, attempt %d)", a.Outcome, a.Transition, o, tr, a.Record.State, a.Record.Attempt)
	}
	return a
}

func success(c onceguard.Claim, attempt int64) onceguard.Settlement {
	return onceguard.Settlement{
		ID: c.ID, Attempt: attempt, Owner: c.Owner, Verb: onceguard.SettleSucceeded,
		Result: onceguard.NewResult("refund/1", []byte(`{"paid":true}`)),
	}
}

func mustSettle(t testing.TB, s onceguard.Store, n onceguard.Settlement, o onceguard.Outcome, tr onceguard.Transition) onceguard.Answer {
	t.Helper()
	a, err := only(s.Settle(ctx, []onceguard.Settlement{n}))
	return want(t, a, err, o, tr)
}

func get(t testing.TB, s onceguard.Store, id onceguard.RequestID) onceguard.Record {
	t.Helper()
	a, err := only(s.Get(ctx, []onceguard.RequestID{id}))
	if err != nil {
		t.Fatal(err)
	}
	return a.Record
}

// storeError expects a *StoreError and its two marks.
func storeError(t testing.TB, err error, clean, permanent bool) *onceguard.StoreError {
	t.Helper()
	var se *onceguard.StoreError
	if !errors.As(err, &se) {
		t.Fatalf("error is %T (%v), want a *StoreError", err, err)
	}
	if se.Clean != clean || se.Permanent != permanent {
		t.Fatalf("error is clean %t, permanent %t; want %t, %t: %v", se.Clean, se.Permanent, clean, permanent, err)
	}
	return se
}

// witness notes in the table seen what each write of a receipt ran with.
func witness(t testing.TB, url string) {
	t.Helper()
	pgtest.Exec(t, url, `CREATE TABLE public.seen (level text, isolation text);
		CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
			INSERT INTO public.seen VALUES (current_setting('synchronous_commit'), current_setting('transaction_isolation')); RETURN NEW; END $$;
		CREATE TRIGGER look AFTER INSERT OR UPDATE ON onceguard_receipt FOR EACH ROW EXECUTE FUNCTION look()`)
}
