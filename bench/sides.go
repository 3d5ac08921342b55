package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceguard/onceguard"
)

// naivePool is the pool size with which the naive version is fastest.
const naivePool = 64

// body is a result of 200 bytes.
var body = []byte(`{"id":"ch_1","note":"` + strings.Repeat("n", 177) + `"}`)

func newID() (id onceguard.RequestID) {
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return id
}

func newOwner() (owner onceguard.Token) {
	_, _ = rand.Read(owner[:])
	return owner
}

// pair is the store's part of one guarded call: a claim and a settle, both
// durable when it returns.
func pair(s onceguard.Store) error {
	id := newID()
	claim := onceguard.Claim{
		ID: id, Scope: "default", Action: "charge.create", Key: "order=" + id.String()[4:20],
		Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "0001", Sum: id}}, Owner: onceguard.Token(id[:16]), Process: "host/1/2/3",
		Lease: time.Minute, ResultRetention: onceguard.DefaultResultRetention, IdentityRetention: onceguard.DefaultIdentityRetention,
	}
	answers, err := s.Claim(context.Background(), []onceguard.Claim{claim})
	if err := answered(answers, err, onceguard.Granted); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	answers, err = s.Settle(context.Background(), []onceguard.Settlement{{
		ID: id, Attempt: 1, Owner: claim.Owner, Verb: onceguard.SettleSucceeded, Result: onceguard.NewResult("json bench.charge", body),
	}})
	if err := answered(answers, err, onceguard.Settled); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return nil
}

func answered(answers []onceguard.Answer, err error, want onceguard.Outcome) error {
	switch {
	case err != nil:
		return err
	case answers[0].Err != nil:
		return answers[0].Err
	case answers[0].Outcome != want:
		return fmt.Errorf("the store answered %s, not %s", answers[0].Outcome, want)
	}
	return nil
}

// charge is what guarded calls are about; its JSON has the size of body.
type charge struct {
	Order string `json:"order"`
	Note  string `json:"note"`
}

var note = strings.Repeat("n", 150)

// guarded is one whole guarded call with a new key.
func guarded(g *onceguard.Guard) func() error {
	return func() error {
		in := charge{newID().String()[4:20], note}
		r := onceguard.Request{Action: "charge.create", Key: onceguard.KeyOf("order", in.Order), Input: in}
		rec, err := onceguard.Do(context.Background(), g, r, func(context.Context, *onceguard.Attempt) (charge, error) { return in, nil })
		if err == nil && rec.Replayed {
			err = fmt.Errorf("a new key was replayed")
		}
		return err
	}
}

// pool is a pgx pool that ends with the test.
func pool(t testing.TB, url string, conns int32) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = conns
	p, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

const (
	naiveTable  = `CREATE TABLE naive (id bytea PRIMARY KEY, state smallint NOT NULL, result bytea)`
	naiveInsert = `INSERT INTO naive (id, state) VALUES ($1, 1)`
	naiveUpdate = `UPDATE naive SET state = 4, result = $2 WHERE id = $1 AND state = 1`
	naiveSelect = `SELECT state, result FROM naive WHERE id = $1`
)

// naive is the two statements that people write without a guard, each a
// transaction of its own: pgx prepares them.
func naive(p *pgxpool.Pool) func() error {
	return func() error {
		id := newID()
		if _, err := p.Exec(context.Background(), naiveInsert, id[:]); err != nil {
			return err
		}
		_, err := p.Exec(context.Background(), naiveUpdate, id[:], body)
		return err
	}
}
