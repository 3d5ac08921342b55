package bench

import (
	"context"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

// driver claims, settles and reads lists of requests, each list in one
// transaction. Every request must be granted, settled, found.
type driver interface {
	claim(context.Context, []request) error
	settle(context.Context, []request) error
	get(context.Context, []request) error
	close()
}

// throughStore is the store itself, whose list is one batch.
type throughStore struct{ s *pgstore.Store }

func all(answers []onceguard.Answer, err error, want onceguard.Outcome) error {
	for i := range answers {
		if err == nil {
			err = answered(answers[i:], nil, want)
		}
	}
	return err
}

func (d throughStore) claim(ctx context.Context, list []request) error {
	claims := make([]onceguard.Claim, len(list))
	for i, r := range list {
		claims[i] = r.claim()
	}
	answers, err := d.s.Claim(ctx, claims)
	return all(answers, err, onceguard.Granted)
}

func (d throughStore) settle(ctx context.Context, list []request) error {
	words := make([]onceguard.Settlement, len(list))
	for i, r := range list {
		words[i] = r.settlement()
	}
	answers, err := d.s.Settle(ctx, words)
	return all(answers, err, onceguard.Settled)
}

func (d throughStore) get(ctx context.Context, list []request) error {
	ids := make([]onceguard.RequestID, len(list))
	for i, r := range list {
		ids[i] = r.id
	}
	answers, err := d.s.Get(ctx, ids)
	return all(answers, err, onceguard.Found)
}

func (d throughStore) close() { _ = d.s.Close() } // nothing waits for an answer

// overhear reads the store's statements off the server, which shows what each
// session ran last.
func overhear(t testing.TB, url string, store *pgstore.Store) said {
	t.Helper()
	d, ctx := throughStore{store}, t.Context()
	var heard said
	many, one := newRequests(64), newRequests(1)
	for _, step := range []struct {
		run   func(context.Context, []request) error
		of    []request
		begin string
		into  *string
	}{
		{d.claim, many, "INSERT INTO onceguard_receipt", &heard.claims},
		{d.settle, many, "UPDATE onceguard_receipt", &heard.settles},
		{d.claim, one, "INSERT INTO onceguard_receipt", &heard.claim},
		{d.settle, one, "UPDATE onceguard_receipt", &heard.settle},
		{d.get, many, "SELECT request_id", &heard.get},
	} {
		if err := step.run(ctx, step.of); err != nil {
			t.Fatal(err)
		}
		*step.into = pgtest.Value[string](t, url, `SELECT query FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'onceguard' ORDER BY query_start DESC LIMIT 1`)
		if !strings.HasPrefix(*step.into, step.begin) {
			t.Fatalf("the store's last statement does not begin with %q:\n%s", step.begin, *step.into)
		}
	}
	heard.sweep, heard.list = sweepOf("onceguard_receipt"), listOf(heard.get, "")
	return heard
}
