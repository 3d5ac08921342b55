package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/ledger"
)

// Points where an agent stops and waits for its SIGKILL.
const (
	stopBeforeSend   = "before-send"   // decided to pay, nothing sent
	stopAfterPay     = "after-pay"     // the payment's answer is here, nothing stored
	stopAfterReceipt = "after-receipt" // everything done but telling the caller
)

// AgentConfig is one start of the agent.
type AgentConfig struct {
	Ledger    string // address of the ledger
	Op        string // the ledger's name for this order; the guard does not see it
	Order     string
	Amount    int
	Stop      string          // where to wait for SIGKILL; empty: nowhere
	Store     onceguard.Store // nil: unguarded
	Reconcile bool            // ask the lookup about the order instead of paying
}

// payment is the tool's input.
type payment struct {
	Order  string `json:"order"`
	Amount int    `json:"amount"`
}

// paid is its result.
type paid struct {
	Payment string `json:"payment"`
}

// told is what the agent process reports on its last line.
type told struct {
	Outcome   string `json:"outcome"` // paid, replayed, uncertain, mismatch, failed, settled, still-uncertain
	Payment   string `json:"payment,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	State     string `json:"state,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

const stopped = "stopped at "

// Agent runs one agent process: it pays one order and prints what came of it.
func Agent(ctx context.Context, c AgentConfig, stdin io.Reader, stdout io.Writer) error {
	pause := func(point string) {
		if c.Stop == point {
			fmt.Fprintln(stdout, stopped+point)
			// The parent kills this process here; the end of standard input is
			// for a parent that died.
			_, _ = bufio.NewReader(stdin).ReadByte()
		}
	}
	tool := ledger.NewClient(c.Ledger)
	var t told
	switch {
	case c.Store == nil:
		t = unguarded(ctx, c, tool, pause)
	case c.Reconcile:
		t = reconcile(ctx, c, tool)
	default:
		t = guarded(ctx, c, tool, pause)
	}
	pause(stopAfterReceipt)
	return json.NewEncoder(stdout).Encode(t)
}

// pay is the effect: one request to the tool, over a connection of its own.
func pay(ctx context.Context, c AgentConfig, tool *ledger.Client, key string, pause func(string)) (paid, error) {
	pause(stopBeforeSend)
	a, err := tool.Apply(ctx, ledger.Request{Op: c.Op, Key: key, Body: fmt.Appendf(nil, "%s %d", c.Order, c.Amount)})
	if err != nil {
		return paid{}, err
	}
	pause(stopAfterPay)
	return paid{Payment: a.ID}, nil
}

func unguarded(ctx context.Context, c AgentConfig, tool *ledger.Client, pause func(string)) told {
	p, err := pay(ctx, c, tool, "", pause)
	if err != nil {
		return told{Outcome: "failed", Reason: err.Error()}
	}
	return told{Outcome: "paid", Payment: p.Payment}
}

// action is what a user of the guard writes.
func action(c AgentConfig, tool *ledger.Client, pause func(string)) onceguard.Action[payment, paid] {
	return onceguard.Action[payment, paid]{
		Name:              "payment.create",
		Key:               func(in payment) onceguard.Key { return onceguard.KeyOf("order", in.Order) },
		RunAfterNeverWill: true,
		Run: func(ctx context.Context, a *onceguard.Attempt, in payment) (paid, error) {
			return pay(ctx, c, tool, a.DownstreamKey(), pause)
		},
		// The lookup does not only look: it forbids the key first, so that what
		// has not happened by now cannot happen any more.
		Reconcile: func(ctx context.Context, q onceguard.Query) (onceguard.Verdict[paid], error) {
			v, err := tool.Void(ctx, q.DownstreamKey, q.Attempts[len(q.Attempts)-1].Number)
			switch {
			case err != nil:
				return onceguard.Verdict[paid]{}, err
			case v.Effect != nil:
				return onceguard.Verdict[paid]{Finding: onceguard.Happened, Value: paid{Payment: v.Effect.ID}, Reason: "the ledger has it"}, nil
			}
			return onceguard.Verdict[paid]{Finding: onceguard.NeverWill, Reason: "the ledger has no payment under this key and refuses it from now on"}, nil
		},
	}
}

func guarded(ctx context.Context, c AgentConfig, tool *ledger.Client, pause func(string)) told {
	g, err := onceguard.New(ctx, c.Store, onceguard.Options{Observer: quiet{}})
	if err != nil {
		return told{Outcome: "failed", Reason: err.Error()}
	}
	r, err := action(c, tool, pause).Do(ctx, g, payment{c.Order, c.Amount})
	t := told{RequestID: r.RequestID.String(), State: r.State.String(), Payment: r.Value.Payment}
	switch {
	case err == nil && r.Replayed:
		t.Outcome = "replayed"
	case err == nil:
		t.Outcome = "paid"
	case errors.Is(err, onceguard.ErrUncertain):
		t.Outcome, t.Reason = "uncertain", r.Reason
	case errors.Is(err, onceguard.ErrMismatch):
		t.Outcome = "mismatch"
	default:
		t.Outcome, t.Reason = "failed", err.Error()
	}
	return t
}

func reconcile(ctx context.Context, c AgentConfig, tool *ledger.Client) told {
	fail := func(err error) told { return told{Outcome: "failed", Reason: err.Error()} }
	g, err := onceguard.New(ctx, c.Store, onceguard.Options{Observer: quiet{}})
	if err != nil {
		return fail(err)
	}
	a := action(c, tool, func(string) {})
	req, err := a.Request(payment{c.Order, c.Amount})
	if err != nil {
		return fail(err)
	}
	rec, err := g.Reconciler(onceguard.ReconcilerOptions{}, a)
	if err != nil {
		return fail(err)
	}
	before, err := g.Preview(ctx, req)
	if err != nil {
		return fail(err)
	}
	settled, err := rec.Ask(ctx, before.RequestID)
	if err != nil {
		return fail(err)
	}
	now, err := g.Preview(ctx, req)
	if err != nil {
		return fail(err)
	}
	t := told{Outcome: "still-uncertain", RequestID: now.RequestID.String(), State: now.Record.State.String(), Reason: now.Record.Reason}
	if settled {
		t.Outcome = "settled"
	}
	return t
}

// quiet keeps the guard's warnings out of the demonstration's output; what they
// say is in the table.
type quiet struct{}

func (quiet) Observe(context.Context, onceguard.Event) {}
