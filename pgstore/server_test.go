package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

func TestServerKilled(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	s := open(t, migrated(t, c), nil)
	var claims []onceguard.Claim
	for range 20 {
		claims = append(claims, newClaim(t))
	}
	list, err := s.Claim(ctx, claims)
	if err != nil {
		t.Fatal(err)
	}
	for _, cl := range claims[:10] {
		mustSettle(t, s, success(cl, 1), onceguard.Settled, onceguard.T7)
	}
	c.Kill(t)
	if _, err := claim1(s, newClaim(t)); err == nil {
		t.Fatal("a claim was answered by a dead server")
	}
	c.Restart(t)
	for i, cl := range claims {
		if list[i].Outcome != onceguard.Granted {
			t.Fatalf("claim %d was answered %s", i, list[i].Outcome)
		}
		state := onceguard.Claimed
		if i < 10 {
			state = onceguard.Succeeded
		}
		if r := get(t, s, cl.ID); r.State != state || r.Attempt != 1 {
			t.Errorf("after the crash request %d is %s, attempt %d; want %s, 1", i, r.State, r.Attempt, state)
		}
	}
}

// A role or a database may turn synchronous_commit off; the store's own
// connections must not follow, and what was answered must survive a crash.
func TestSynchronousCommitIsForced(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"synchronous_commit": "off", "wal_writer_delay": "10s"}})
	url := migrated(t, c)
	pgtest.Exec(t, url, "ALTER ROLE postgres SET synchronous_commit = off")
	pgtest.Exec(t, url, "ALTER ROLE postgres SET default_transaction_isolation = 'serializable'")
	if v := pgtest.Value[string](t, url, "SHOW synchronous_commit"); v != "off" {
		t.Fatalf("the role's setting did not take: %s", v)
	}
	for name, o := range map[string]*pgstore.Options{"direct": nil, "pooler": {Pooler: true}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, url, o)
			cl := newClaim(t)
			mustClaim(t, s, cl, onceguard.Granted, onceguard.T1)
			released := newClaim(t)
			mustClaim(t, s, released, onceguard.Granted, onceguard.T1)
			mustSettle(t, s, onceguard.Settlement{ID: released.ID, Attempt: 1, Owner: released.Owner, Verb: onceguard.SettleReleased}, onceguard.Applied, onceguard.T10)
			c.Kill(t)
			c.Restart(t)
			if r := get(t, s, cl.ID); r.State != onceguard.Claimed {
				t.Errorf("an answered claim is %s after the crash", r.State)
			}
			if r := get(t, s, released.ID); r.State != onceguard.Released {
				t.Errorf("an answered release is %s after the crash", r.State)
			}
			info, err := s.Info(ctx)
			if err != nil || !strings.Contains(info.Durability, "synchronous_commit=on") {
				t.Errorf("durability %q, %v", info.Durability, err)
			}
		})
	}
	t.Run("in the URL", func(t *testing.T) {
		_, err := pgstore.Open(ctx, url+"&synchronous_commit=off", nil)
		storeError(t, err, true, true)
		open(t, url+"&synchronous_commit=remote_apply", nil)
	})
}

func TestStandbyIsRefusedAndFailoverFreezes(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	url := migrated(t, primary)
	database := url[strings.LastIndex(url, "/")+1:]
	database, _, _ = strings.Cut(database, "?")
	s := open(t, url, nil)
	before := newClaim(t)
	mustClaim(t, s, before, onceguard.Granted, onceguard.T1)
	first, err := s.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}

	standby := pgtest.Start(t, pgtest.Options{StandbyOf: primary})
	_, err = pgstore.Open(ctx, standby.URL(database), nil)
	if se := storeError(t, err, true, true); !strings.Contains(se.Error(), "standby") {
		t.Errorf("error does not name the standby: %v", se)
	}
	storeError(t, pgstore.Migrate(ctx, standby.URL(database)), true, true)
	// A URL with both leads to the primary, wherever it stands in it.
	both := strings.Replace(url, "@"+primary.Addr(), "@"+standby.Addr()+","+primary.Addr(), 1)
	if both == url {
		t.Fatalf("no address to replace in %s", url)
	}
	many := open(t, both, nil)
	mustClaim(t, many, newClaim(t), onceguard.Granted, onceguard.T1)

	pgtest.WaitFor(t, primary.URL("postgres"), "SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()")
	standby.Stop(t, pgtest.Fast) // from here on the standby hears nothing
	lost := newClaim(t)
	mustClaim(t, s, lost, onceguard.Granted, onceguard.T1)
	primary.Kill(t)
	standby.Restart(t)
	standby.Promote(t)

	s = open(t, standby.URL(database), nil)
	if r := get(t, s, before.ID); r.State != onceguard.Claimed {
		t.Fatalf("the replicated claim is %s", r.State)
	}
	if a := mustClaim(t, s, another(lost), onceguard.Frozen, onceguard.NoTransition); a.Record.ID != lost.ID {
		t.Errorf("frozen answer is about %s", a.Record.ID)
	}
	mustClaim(t, s, newClaim(t, under(onceguard.Rerun)), onceguard.Granted, onceguard.T1)
	mustSettle(t, s, success(before, 1), onceguard.Settled, onceguard.T7)
	second, err := s.Info(ctx)
	if err != nil || !second.Frozen || second.Epoch == first.Epoch || second.StoreID != first.StoreID {
		t.Fatalf("after the failover: %+v, %v", second, err)
	}
	storeError(t, s.Acknowledge(ctx, onceguard.Acknowledgement{Epoch: first.Epoch, By: "ana", Reason: "x"}), true, true)
	mustClaim(t, s, another(lost), onceguard.Frozen, onceguard.NoTransition)
	if err := s.Acknowledge(ctx, onceguard.Acknowledgement{Epoch: second.Epoch, By: "ana", Reason: "compared with the provider"}); err != nil {
		t.Fatal(err)
	}
	mustClaim(t, s, another(lost), onceguard.Granted, onceguard.T1)
	notes, err := s.Evidence(ctx, onceguard.RequestID{})
	if err != nil || len(notes) != 2 || notes[0].Kind != onceguard.EvidenceEpoch || !strings.Contains(notes[1].By, "ana") {
		t.Errorf("evidence of the epochs: %+v, %v", notes, err)
	}
}

// With a synchronous standby gone, a commit waits. The caller's deadline must
// neither cancel that wait nor turn it into a success.
func TestDeadlineNeverCancelsACommit(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	url := migrated(t, c)
	s := open(t, url, nil)
	mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1) // connected, statements prepared
	c.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	c.Exec(t, "SELECT pg_reload_conf()")
	pgtest.WaitFor(t, url, "SELECT current_setting('synchronous_standby_names') = 'nobody'")

	// The server takes the setting up a little later than it shows it: claims
	// are answered until then.
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	var cl onceguard.Claim
	done := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			cl = newClaim(t)
			_, err = only(s.Claim(short, []onceguard.Claim{cl}))
		}
		done <- err
	}()
	waiting := "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'onceguard' AND wait_event = 'SyncRep'"
	pgtest.WaitFor(t, url, waiting)
	cancel()
	err := <-done
	storeError(t, err, false, false)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error does not say why: %v", err)
	}
	// pgx gives the connection up now; a cancel request would end the wait.
	pgtest.WaitFor(t, url, waiting)
	if pgtest.Value[bool](t, url, "SELECT EXISTS (SELECT FROM onceguard_receipt WHERE request_id = $1)", cl.ID[:]) {
		t.Fatal("the row became visible although no standby has it")
	}
	// An operator's cancel does end it, with a success and a warning: that is
	// not an answer either.
	go func() {
		_, err := only(s.Claim(ctx, []onceguard.Claim{newClaim(t)}))
		done <- err
	}()
	pgtest.WaitFor(t, url, "SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'onceguard' AND wait_event = 'SyncRep'")
	c.Exec(t, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'onceguard' AND wait_event = 'SyncRep'")
	storeError(t, <-done, false, false)
	// Ending the session is an error, and leaves the row in place.
	ended := newClaim(t)
	go func() {
		_, err := only(s.Claim(ctx, []onceguard.Claim{ended}))
		done <- err
	}()
	pgtest.WaitFor(t, url, "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'onceguard' AND wait_event = 'SyncRep'")
	c.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'onceguard' AND wait_event = 'SyncRep'")
	storeError(t, <-done, false, false)
	pgtest.WaitFor(t, url, "SELECT EXISTS (SELECT FROM onceguard_receipt WHERE request_id = $1)", ended.ID[:])
	c.Exec(t, "ALTER SYSTEM RESET synchronous_standby_names")
	c.Exec(t, "SELECT pg_reload_conf()")
	pgtest.WaitFor(t, url, "SELECT current_setting('synchronous_standby_names') = ''")
	mustClaim(t, s, cl, onceguard.Granted, onceguard.T2)
}
