//go:build unix

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/pgstore"
	"github.com/onceguard/onceguard/sqlitestore"
)

// worker is one process at work.
type worker struct {
	job     crashtest.Job
	store   onceguard.Store
	db      *sql.DB // of SQLite: for the rows of transactional effects
	guard   *onceguard.Guard
	ledger  *ledger.Client
	history *crashtest.History
	wg      sync.WaitGroup
	n       atomic.Int64
}

func open(ctx context.Context, job crashtest.Job) (*worker, error) {
	w := &worker{job: job, ledger: ledger.NewClient(job.Ledger)}
	var err error
	if w.history, err = crashtest.OpenHistory(job.History); err != nil {
		return nil, err
	}
	if err := w.openStore(ctx); err != nil {
		return nil, err
	}
	lease := job.Lease
	if lease == 0 {
		lease = crashtest.DefaultLease
	}
	w.guard, err = onceguard.New(ctx, w.store, onceguard.Options{
		Limits: onceguard.Limits{
			Lease: lease, MaxRun: job.MaxRun, Wait: job.Wait,
			ResultRetention: job.ResultRetention, IdentityRetention: job.IdentityRetention,
		},
		StoreTimeout: job.StoreTimeout, SettleWait: job.SettleWait, Spool: job.Spool, Process: job.Process, Observer: w,
		ReplayCache: -1, // a receipt that the store lost must be missed here
	})
	return w, err
}

func (w *worker) openStore(ctx context.Context) error {
	path, ok := strings.CutPrefix(w.job.Store, "sqlite:")
	if !ok {
		o := pgstore.Options{MaxConns: 4}
		if w.job.Continue {
			o.OnFailover = pgstore.Continue
		}
		s, err := pgstore.Open(ctx, w.job.Store, &o)
		if err != nil {
			return err
		}
		w.store = s
		return nil
	}
	o := sqlitestore.Options{Reserve: w.job.Reserve, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if o.Reserve == 0 {
		o.Reserve = -1
	}
	clock := time.Now
	if w.job.Clock != "" {
		clock = func() time.Time { return time.Now().Add(ahead(w.job.Clock)) }
	}
	s, err := sqlitestore.Open(ctx, path, withClock(o, clock))
	if err != nil {
		return err
	}
	w.store, w.db = s, s.DB()
	_, err = w.db.ExecContext(ctx, crashtest.EffectTable)
	return err
}

// ahead reads how far a test has set the store's clock. The file is replaced
// whole, so that it is never half of one.
func ahead(path string) time.Duration {
	data, err := os.ReadFile(path)
	if err == nil {
		var d time.Duration
		if d, err = time.ParseDuration(strings.TrimSpace(string(data))); err == nil {
			return d
		}
	}
	fmt.Fprintln(os.Stderr, "worker: clock:", err)
	os.Exit(3)
	return 0
}

// close waits for outcomes that are not stored yet, as a program should.
func (w *worker) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(w.guard.Close(ctx), w.store.Close())
}

// Observe implements onceguard.Observer: events are part of the history.
func (w *worker) Observe(_ context.Context, e onceguard.Event) {
	l := crashtest.Line{
		Kind: crashtest.Saw, Event: string(e.Kind), Attempt: e.Attempt, Request: e.RequestID.String(),
		Change: e.Transition.String(), Text: e.Detail,
	}
	if e.Err != nil {
		l.Text += ": " + e.Err.Error()
	}
	w.history.Add(l)
}
