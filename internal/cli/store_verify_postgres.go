package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/storesuite"
	"github.com/onceguard/onceguard/pgstore"
)

// postgresScratch makes schemas in the user's database: the same server, the
// same settings of role and database, and none of the user's tables.
type postgresScratch struct {
	at     storeURL
	conn   *pgx.Conn
	prefix string
	made   []string
}

// removeTime bounds the removal of what was made, also after an interrupt.
const removeTime = time.Minute

func newPostgresScratch(ctx context.Context, at storeURL) (scratch, error) {
	conn, err := pgx.Connect(ctx, at.url)
	if err != nil {
		// Its text may quote the URL; the store's own errors do not.
		if _, err := pgstore.Open(ctx, at.url, nil); err != nil {
			return nil, unavailable("the store %s cannot be opened: %w", plain(at.shown), err)
		}
		return nil, unavailable("the store %s cannot be connected to", plain(at.shown))
	}
	s := &postgresScratch{at: at, conn: conn, prefix: "onceguard_verify_" + strings.ToLower(rand.Text()[:8])}
	var allowed bool
	err = conn.QueryRow(ctx, "SELECT has_database_privilege(current_database(), 'CREATE')").Scan(&allowed)
	if err == nil && !allowed {
		err = errors.New("its role may not create schemas there: GRANT CREATE ON DATABASE to it, or name a scratch database on the same server")
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, unavailable("%s cannot be tried: %w", plain(at.shown), err)
	}
	return s, nil
}

func (s *postgresScratch) remove(a *app) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), removeTime)
	defer cancel()
	for _, schema := range s.made {
		if err := s.drop(ctx, schema); err != nil {
			a.say("warning: the schema %s stays and can be dropped: %v", schema, err)
		}
	}
	_ = s.conn.Close(ctx)
}

func (s *postgresScratch) drop(ctx context.Context, schema string) error {
	_, err := s.conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
	return err
}

// schema makes an empty store, and returns its URL and the function that ends it.
func (s *postgresScratch) schema(ctx context.Context) (storeURL string, drop func(), err error) {
	name := fmt.Sprintf("%s_%d", s.prefix, len(s.made)+1)
	if _, err := s.conn.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", nil, err
	}
	s.made = append(s.made, name)
	u, err := url.Parse(s.at.url)
	if err != nil {
		return "", nil, errors.New("the store's URL cannot be read")
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	// Dropped at once, so that a run leaves little behind where it is killed.
	drop = func() { _ = s.drop(context.WithoutCancel(ctx), name) }
	return u.String(), drop, pgstore.Migrate(ctx, u.String())
}

func (s *postgresScratch) options() *pgstore.Options {
	return &pgstore.Options{NoEpoch: s.at.noEpoch, MaxConns: 8}
}

func (s *postgresScratch) info(ctx context.Context) (onceguard.StoreInfo, error) {
	at, drop, err := s.schema(ctx)
	if err != nil {
		return onceguard.StoreInfo{}, err
	}
	defer drop()
	store, err := pgstore.Open(ctx, at, s.options())
	if err != nil {
		return onceguard.StoreInfo{}, err
	}
	info, err := store.Info(ctx)
	return info, errors.Join(err, store.Close())
}

func (s *postgresScratch) open(t storesuite.T) storesuite.Harness {
	ctx := context.Background()
	at, drop, err := s.schema(ctx)
	if drop != nil {
		t.Cleanup(drop)
	}
	if err != nil {
		t.Fatalf("an empty store: %v", err)
	}
	exec := func(sql string) {
		if _, err := s.conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	in := pgx.Identifier{s.made[len(s.made)-1]}.Sanitize() + "."
	exec("CREATE TABLE " + in + "onceverify (name text PRIMARY KEY, value text NOT NULL)")
	open := func() *pgstore.Store {
		store, err := pgstore.Open(ctx, at, s.options())
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	store := open()
	return storesuite.Harness{
		Store: store,
		Reopen: func() onceguard.Store {
			_ = store.Close()
			return open()
		},
		Second:   func() onceguard.Store { return open() },
		Failover: func() { exec("UPDATE " + in + "onceguard_store SET restores = restores + 1") },
		WriteRow: func(ctx context.Context, tx any, name, value string) error {
			_, err := tx.(pgx.Tx).Exec(ctx, "INSERT INTO "+in+"onceverify (name, value) VALUES ($1, $2)", name, value)
			return err
		},
		ReadRow: func(name string) (value string, found bool) {
			err := s.conn.QueryRow(ctx, "SELECT value FROM "+in+"onceverify WHERE name = $1", name).Scan(&value)
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				t.Fatal(err)
			}
			return value, err == nil
		},
	}
}
