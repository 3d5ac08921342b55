package bench

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// request is one new guarded call of the schema scene.
type request struct {
	id    onceguard.RequestID
	owner onceguard.Token
}

func newRequests(n int) []request {
	all := make([]request, n)
	for i := range all {
		all[i] = request{newID(), newOwner()}
	}
	return all
}

func (r request) claim() onceguard.Claim {
	return onceguard.Claim{
		ID: r.id, Scope: "default", Action: "charge.create", Key: "order=" + r.id.String()[4:20],
		Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "0001", Sum: r.id}}, Owner: r.owner, Process: "host/1/2/3",
		Lease: time.Minute, ResultRetention: onceguard.DefaultResultRetention, IdentityRetention: onceguard.DefaultIdentityRetention,
	}
}

func (r request) settlement() onceguard.Settlement {
	return onceguard.Settlement{ID: r.id, Attempt: 1, Owner: r.owner, Verb: onceguard.SettleSucceeded, Result: result}
}

var result = onceguard.NewResult("json bench.charge", body)

// direct sends statements of a variant with the parameters of the store.
type direct struct {
	conn   *pgx.Conn
	system string
	epoch  bool // whether claims ask for it
}

// connect gives a session the settings of the store's sessions (connect.go
// there) and prepares the statements.
func connect(t testing.TB, url string, s said) *direct {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"synchronous_commit": "on", "default_transaction_isolation": "read committed",
		"enable_seqscan": "off", "enable_bitmapscan": "off", "jit": "off", "application_name": "variant",
	} {
		config.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	d := &direct{conn: conn, epoch: true}
	if err := conn.QueryRow(t.Context(), "SELECT system_identifier::text FROM pg_control_system()").Scan(&d.system); err != nil {
		t.Fatal(err)
	}
	for name, sql := range map[string]string{"claims": s.claims, "settles": s.settles, "claim": s.claim, "settle": s.settle, "get": s.get} {
		if _, err := conn.Prepare(t.Context(), name, sql); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, sql)
		}
	}
	return d
}

func (d *direct) close() { _ = d.conn.Close(context.Background()) } // every statement was answered

// rows runs a statement that must give so many rows.
func (d *direct) rows(ctx context.Context, want int, name string, args ...any) error {
	rows, err := d.conn.Query(ctx, name, args...)
	if err != nil {
		return err
	}
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n != want {
		return fmt.Errorf("%s gave %d rows, not %d", name, n, want)
	}
	return nil
}

// column collects one parameter of a list.
func column[T any](list []request, of func(request) T) []T {
	c := make([]T, len(list))
	for i, r := range list {
		c[i] = of(r)
	}
	return c
}

func same[T any](list []request, v T) []T {
	return column(list, func(request) T { return v })
}

func idOf(r request) []byte { return r.id[:] }

func ownerOf(r request) []byte {
	h := r.owner.Hash()
	return h[:]
}

func keyOf(r request) string { return "order=" + r.id.String()[4:20] }

func (d *direct) claim(ctx context.Context, list []request) error {
	const process = "host/1/2/3"
	keepResult, keepIdentity := int64(onceguard.DefaultResultRetention), int64(onceguard.DefaultIdentityRetention)
	if len(list) == 1 {
		r := list[0]
		return d.rows(ctx, 1, "claim", r.id[:], "default", "charge.create", keyOf(r), int16(1), "0001", r.id[:],
			int16(0), int64(0), int16(0), int32(0), ownerOf(r), process, false,
			time.Minute.Microseconds(), keepResult, keepIdentity, []byte(nil), (*time.Time)(nil), int32(math.MaxInt32), d.epoch, d.system)
	}
	return d.rows(ctx, len(list), "claims", column(list, idOf), same(list, "default"), same(list, "charge.create"), column(list, keyOf),
		same(list, int16(1)), same(list, "0001"), column(list, idOf), same(list, int16(0)), same(list, int64(0)), same(list, int16(0)), same(list, int32(0)),
		column(list, ownerOf), same(list, process), same(list, false), same(list, time.Minute.Microseconds()), same(list, keepResult), same(list, keepIdentity),
		same(list, []byte(nil)), same(list, (*time.Time)(nil)), int32(math.MaxInt32), same(list, d.epoch), d.system)
}

func (d *direct) settle(ctx context.Context, list []request) error {
	if len(list) == 1 {
		return d.rows(ctx, 1, "settle", list[0].id[:], int64(1), ownerOf(list[0]), int16(onceguard.Succeeded), "owner", "",
			result.Body, result.Type, result.Digest[:], int16(0))
	}
	return d.rows(ctx, len(list), "settles", column(list, idOf), same(list, int64(1)), column(list, ownerOf), same(list, int16(onceguard.Succeeded)),
		same(list, "owner"), same(list, ""), same(list, result.Body), same(list, result.Type), same(list, result.Digest[:]), same(list, int16(0)))
}

func (d *direct) get(ctx context.Context, list []request) error {
	return d.rows(ctx, len(list), "get", column(list, idOf))
}
