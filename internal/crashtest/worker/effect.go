//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
)

// pay is the effect: one request to the ledger, with the downstream key.
func (w *worker) pay(ctx context.Context, n int64, c crashtest.Call, a *onceguard.Attempt, cancel func()) (crashtest.Paid, error) {
	l := crashtest.Line{Kind: crashtest.Start, N: n, Op: c.Op, Request: c.Request(), Policy: c.Policy, Attempt: a.Number()}
	w.history.Add(l)
	if err := a.Ready(); err != nil {
		return crashtest.Paid{}, err
	}
	if !c.Heed {
		ctx = context.WithoutCancel(ctx)
	}
	if c.Effect == "stop-before-send" {
		stopSelf()
	}
	if c.Cancel == "sent" {
		cancel()
	}
	l.Kind = crashtest.Sent
	w.history.Add(l)
	got, err := w.ledger.Apply(ctx, ledger.Request{
		Op: c.Op, Key: a.DownstreamKey(), Attempt: a.Number(), Body: fmt.Appendf(nil, `{"amount":%d}`, c.Amount),
	})
	l.Kind, l.Effect = crashtest.End, got.ID
	if err != nil {
		l.Text = err.Error()
	}
	w.history.Add(l)
	w.misbehave(c)
	return crashtest.Paid{Effect: got.ID, Body: strings.Repeat("x", c.Body)}, meaning(err)
}

// stopSelf returns after SIGCONT. Another thread may take the stop while this
// one runs on, so it waits for the SIGCONT itself.
func stopSelf() {
	cont := make(chan os.Signal, 1)
	signal.Notify(cont, syscall.SIGCONT)
	defer signal.Stop(cont)
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		panic(err)
	}
	<-cont
}

// row is the transactional effect: one row in the store's own database.
func (w *worker) row(c crashtest.Call, cancel func(), insert func() error) (crashtest.Paid, error) {
	w.history.Add(crashtest.Line{Kind: crashtest.Start, Op: c.Op, Request: c.Request(), Policy: c.Policy, Attempt: 1})
	if c.Cancel == "sent" {
		cancel()
	}
	err := insert()
	w.misbehave(c)
	return crashtest.Paid{Effect: "row " + c.Op}, err
}

func (w *worker) misbehave(c crashtest.Call) {
	switch c.Effect {
	case "panic":
		panic("the effect's own panic")
	case "goexit":
		runtime.Goexit()
	case "exit":
		os.Exit(7)
	}
}

// meaning reads the ledger's answers as its documentation (package ledger)
// says. What is not listed there as "no effect, for good" stays unknown.
func meaning(err error) error {
	var answer *ledger.Error
	if !errors.As(err, &answer) {
		return err
	}
	switch ledger.Decision(answer.Code) {
	case ledger.Refused, ledger.Voided, ledger.Mismatch:
		return onceguard.Refused(err)
	}
	return err
}

// lookup is the action with a reconcile lookup, as any process may declare it.
func (w *worker) lookup() onceguard.Action[input, crashtest.Paid] {
	return onceguard.Action[input, crashtest.Paid]{Name: crashtest.ActionName(crashtest.WithLookup), Reconcile: w.reconcile}
}

// reconcile voids the key through the attempt that is asked about: whatever is
// still on its way will be refused, so that "not there" becomes "never". The
// ledger's mark only grows.
func (w *worker) reconcile(ctx context.Context, q onceguard.Query) (onceguard.Verdict[crashtest.Paid], error) {
	happened := func(e ledger.Effect) onceguard.Verdict[crashtest.Paid] {
		return onceguard.Verdict[crashtest.Paid]{Finding: onceguard.Happened, Value: crashtest.Paid{Effect: e.ID}}
	}
	if w.job.Lookup == "see" {
		e, found, err := w.ledger.ByKey(ctx, q.DownstreamKey)
		if err != nil || !found {
			return onceguard.Verdict[crashtest.Paid]{Finding: onceguard.NotSeen}, err
		}
		return happened(e), nil
	}
	v, err := w.ledger.Void(ctx, q.DownstreamKey, q.Attempts[len(q.Attempts)-1].Number)
	switch {
	case err != nil:
		return onceguard.Verdict[crashtest.Paid]{}, err
	case v.Effect != nil:
		return happened(*v.Effect), nil
	}
	return onceguard.Verdict[crashtest.Paid]{Finding: onceguard.NeverWill, Reason: "voided"}, nil
}

// ask asks about one request, whatever its policy is: only those with a lookup
// may reach it.
func (w *worker) ask(ctx context.Context, rec *onceguard.Reconciler, q crashtest.Question) {
	l := crashtest.Line{Kind: crashtest.Asked, Event: "lookup", Request: q.Request, Policy: q.Policy, Told: "left alone"}
	id, err := crashtest.RequestID(q.Policy, q.Request)
	settled := false
	if err == nil {
		settled, err = rec.Ask(ctx, id)
	}
	if settled {
		l.Told = "settled"
	}
	if err != nil {
		l.Told, l.Text = "error", err.Error()
	}
	w.history.Add(l)
}
