package pgstore_test

import (
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

func TestContinue(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	url := migrated(t, c)
	on := &pgstore.Options{OnFailover: pgstore.Continue}
	_, err := pgstore.Open(ctx, url, on)
	if se := storeError(t, err, true, true); !strings.Contains(se.Error(), "synchronous_standby_names") {
		t.Errorf("error does not name the setting: %v", se)
	}
	open(t, url, nil)
	failover := func() { pgtest.Exec(t, url, "UPDATE onceguard_store SET restores = restores + 1") }
	names := func(value string) {
		c.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '"+value+"'")
		c.Exec(t, "SELECT pg_reload_conf()")
		pgtest.WaitFor(t, url, "SELECT current_setting('synchronous_standby_names') = '"+value+"'")
	}
	pgtest.Start(t, pgtest.Options{StandbyOf: c, Name: "one"})
	names("one")
	pgtest.WaitFor(t, url, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
	defer names("") // the standby ends before the database is dropped

	s := open(t, url, on)
	mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1)
	failover()
	mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1)
	if info, err := s.Info(ctx); err != nil || info.Frozen || !strings.Contains(info.Durability, "synchronous standby (one)") {
		t.Errorf("after it continued: %+v, %v", info, err)
	}
	if notes, err := s.Evidence(ctx, onceguard.RequestID{}); err != nil || len(notes) != 2 {
		t.Errorf("a failover that continues leaves evidence too: %+v, %v", notes, err)
	}

	// An epoch that a connection saw without standbys is not continued.
	names("")
	s.Close()
	open(t, url, nil).Close()
	failover()
	names("one")
	pgtest.WaitFor(t, url, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
	s = open(t, url, on)
	mustClaim(t, s, newClaim(t), onceguard.Frozen, onceguard.NoTransition)
}

func TestNoEpoch(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	s := open(t, url, &pgstore.Options{NoEpoch: true})
	mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1)
	info, err := s.Info(ctx)
	if err != nil || info.Epoch != "no-epoch" || info.Frozen || len(info.Warnings) != 1 {
		t.Fatalf("info %+v, %v", info, err)
	}
	// Taking the mode away, or adding it, is a change that somebody must see.
	s = open(t, url, nil)
	mustClaim(t, s, newClaim(t), onceguard.Frozen, onceguard.NoTransition)
}
