package pgstore

import (
	"context"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// Many may want the same row at once, and others a row that is not there: one
// batch answers them all, and each gets bytes of its own.
func TestReadersOfOneRow(t *testing.T) {
	ctx := context.Background()
	url := pgtest.Server(t).Database(t)
	s, err := Open(ctx, url, &Options{AutoMigrate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, absent := testClaim(t), testClaim(t)
	c.Input = []byte("in")
	if list, err := s.Claim(ctx, []claim{c}); err != nil || list[0].Err != nil {
		t.Fatal(err, list)
	}
	if list, err := s.Settle(ctx, []settlement{testSuccess(c)}); err != nil || list[0].Err != nil {
		t.Fatal(err, list)
	}
	batch := make([]*readMember, 12)
	for i := range batch {
		batch[i] = &readMember{id: c.ID}
		if i%3 == 2 {
			batch[i].id = absent.ID
		}
	}
	s.flushReads(ctx, batch)
	for i, m := range batch {
		if m.err != nil || m.answer.Now.IsZero() {
			t.Fatalf("reader %d: %v, %+v", i, m.err, m.answer)
		}
		if m.id == absent.ID {
			if m.answer.Outcome != onceguard.Missing {
				t.Errorf("reader %d of the absent row: %s", i, m.answer.Outcome)
			}
			continue
		}
		r := &m.answer.Record
		if m.answer.Outcome != onceguard.Found || r.ID != c.ID || string(r.Result.Body) != "1" || string(r.Input) != "in" {
			t.Fatalf("reader %d: %s, %q, %q", i, m.answer.Outcome, r.Result.Body, r.Input)
		}
		clear(r.Result.Body)
		clear(r.Input)
	}
}
