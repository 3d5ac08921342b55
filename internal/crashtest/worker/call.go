//go:build unix

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
)

// input is what a request means.
type input struct {
	Op     string
	Amount int
}

// calls runs them all, at most parallel at once.
func (w *worker) calls(ctx context.Context, calls []crashtest.Call, parallel int) {
	var slots chan struct{}
	if parallel > 0 {
		slots = make(chan struct{}, parallel)
	}
	for _, c := range calls {
		for range max(1, c.Copies) {
			if slots != nil {
				slots <- struct{}{}
			}
			w.wg.Go(func() {
				if slots != nil {
					defer func() { <-slots }()
				}
				w.call(ctx, c)
			})
		}
	}
}

// call is one caller, from invoke to return.
func (w *worker) call(ctx context.Context, c crashtest.Call) {
	l := crashtest.Line{Kind: crashtest.Invoke, N: w.n.Add(1), Op: c.Op, Request: c.Request(), Policy: c.Policy}
	w.history.Add(l)
	l.Kind, l.Told = crashtest.Return, "goexit" // until somebody says otherwise
	defer func() {
		if p := recover(); p != nil {
			l.Told, l.Text = "panic", fmt.Sprint(p)
		}
		w.history.Add(l)
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.Cancel == "before" {
		cancel()
	}
	r, err := w.do(ctx, l.N, c, cancel)
	l.Attempt, l.Replayed, l.By, l.MayRun = r.Attempt, r.Replayed, r.SettledBy, onceguard.MayHaveRun(err)
	l.Told = crashtest.Receipt
	var e *onceguard.Error
	switch {
	case errors.As(err, &e):
		l.Told, l.Text = string(e.Code), e.Error()
	case err != nil:
		l.Told, l.Text = "error", err.Error()
	}
	if err == nil || r.Value.Effect != "" {
		value, err := json.Marshal(r.Value)
		if err != nil {
			panic(err)
		}
		l.Value, l.Effect = string(value), r.Value.Effect
	}
}

func (w *worker) do(ctx context.Context, n int64, c crashtest.Call, cancel func()) (onceguard.Receipt[crashtest.Paid], error) {
	policy, err := crashtest.Policy(c.Policy, w.job.Horizon)
	if err != nil {
		return onceguard.Receipt[crashtest.Paid]{}, err
	}
	r := onceguard.Request{
		Action: crashtest.ActionName(c.Policy), Key: crashtest.Key(c.Request()), Input: input{c.Request(), c.Amount},
		Policy: policy, Classify: onceguard.ClassifyDial, Limits: onceguard.Limits{Wait: c.Wait},
	}
	if c.Policy != crashtest.Transactional {
		return onceguard.Do(ctx, w.guard, r, func(ctx context.Context, a *onceguard.Attempt) (crashtest.Paid, error) {
			return w.pay(ctx, n, c, a, cancel)
		})
	}
	if w.db != nil {
		return onceguard.DoTx(ctx, w.guard, r, func(ctx context.Context, tx *sql.Tx) (crashtest.Paid, error) {
			return w.row(c, cancel, func() error {
				_, err := tx.ExecContext(ctx, "INSERT INTO crashtest_effect (op) VALUES (?)", c.Op)
				return err
			})
		})
	}
	return onceguard.DoTx(ctx, w.guard, r, func(ctx context.Context, tx pgx.Tx) (crashtest.Paid, error) {
		return w.row(c, cancel, func() error {
			_, err := tx.Exec(ctx, "INSERT INTO crashtest_effect (op) VALUES ($1)", c.Op)
			return err
		})
	})
}

// after does the housekeeping of the job.
func (w *worker) after(ctx context.Context) error {
	var wg sync.WaitGroup
	if len(w.job.Ask) > 0 {
		rec, err := w.guard.Reconciler(onceguard.ReconcilerOptions{}, w.lookup())
		if err != nil {
			return err
		}
		for _, q := range w.job.Ask {
			wg.Go(func() { w.ask(ctx, rec, q) })
		}
		wg.Wait()
	}
	sweeper := w.guard.Sweeper(onceguard.SweeperOptions{})
	if w.job.Sweep {
		n, err := sweeper.Sweep(ctx)
		w.history.Add(crashtest.Line{Kind: crashtest.Asked, Event: "sweep", N: int64(n)})
		if err != nil {
			return err
		}
	}
	if w.job.Prune {
		p, err := sweeper.Prune(ctx, false)
		w.history.Add(crashtest.Line{Kind: crashtest.Asked, Event: "prune", N: int64(p.Tombstoned + p.Deleted)})
		return err
	}
	return nil
}
