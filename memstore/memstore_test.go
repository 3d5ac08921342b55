package memstore_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

func claim(id byte) onceguard.Claim {
	return onceguard.Claim{
		ID: onceguard.RequestID{id}, Scope: "default", Action: "a", Key: "k", Policy: onceguard.Transactional,
		Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "k1"}}, Owner: onceguard.Token{id}, Lease: time.Minute,
	}
}

// The default clock is the bubble's: leases lapse without waiting.
func TestFollowsSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{})
		c := claim(1)
		if _, err := s.Claim(t.Context(), []onceguard.Claim{c}); err != nil {
			t.Fatal(err)
		}
		c.Owner = onceguard.Token{2}
		for _, want := range []onceguard.Outcome{onceguard.Held, onceguard.Parked} {
			list, err := s.Claim(t.Context(), []onceguard.Claim{c})
			if err != nil || list[0].Outcome != want {
				t.Fatalf("%v, %v; want %s", list, err, want)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestTransactionSeesItsOwnWrites(t *testing.T) {
	s := memstore.New(memstore.Options{})
	var kept *memstore.Tx
	_, err := s.Transact(t.Context(), claim(1), func(_ context.Context, tx any) (onceguard.Result, error) {
		kept = tx.(*memstore.Tx)
		kept.Put("a", []byte("1"))
		kept.Put("b", []byte("2"))
		kept.Delete("b")
		if v, ok := kept.Get("a"); !ok || string(v) != "1" {
			t.Errorf("a is %q, %v", v, ok)
		}
		if _, ok := s.Row("a"); ok {
			t.Error("a is visible outside before the commit")
		}
		return onceguard.NewResult("t", nil), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := s.Row("a"); !ok || string(v) != "1" {
		t.Errorf("a is %q, %v after the commit", v, ok)
	}
	if _, ok := s.Row("b"); ok {
		t.Error("b was deleted and is there")
	}
	defer func() {
		if recover() == nil {
			t.Error("a write after the transaction's end was swallowed")
		}
	}()
	kept.Put("late", nil)
}

// A claim of the request that a transaction holds waits for its end, and one
// from inside it is told that it would wait for itself.
func TestClaimWaitsForTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{})
		c := claim(1)
		_, err := s.Transact(t.Context(), c, func(ctx context.Context, _ any) (onceguard.Result, error) {
			var se *onceguard.StoreError
			list, err := s.Claim(ctx, []onceguard.Claim{c})
			if err != nil || !errors.As(list[0].Err, &se) || !se.Permanent {
				t.Errorf("a claim from inside: %v, %v", list, err)
			}
			if _, err := s.Transact(ctx, claim(2), nil); !errors.As(err, &se) || !se.Permanent {
				t.Errorf("a transaction from inside: %v", err)
			}
			short, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			list, err = s.Claim(short, []onceguard.Claim{c})
			if err != nil || !errors.Is(list[0].Err, context.DeadlineExceeded) {
				t.Errorf("a claim beside it: %v, %v", list, err)
			}
			if list, err := s.Claim(t.Context(), []onceguard.Claim{claim(3)}); err != nil || list[0].Outcome != onceguard.Granted {
				t.Errorf("a claim of another request: %v, %v", list, err)
			}
			return onceguard.Result{}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
