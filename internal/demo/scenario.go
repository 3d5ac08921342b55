package demo

import (
	"context"
	"fmt"

	"github.com/onceguard/onceguard/internal/ledger"
)

// side is with or without the guard.
type side string

const (
	unguardedSide side = "unguarded"
	guardedSide   side = "guarded"
)

// op names an order at the ledger, apart for the two sides.
func (s side) op(o order) string { return string(s) + "/" + o.name }

// order is what one row pays for.
type order struct {
	name   string
	amount int
}

// scenario is one row: what goes wrong, and then the retry.
type scenario struct {
	Name string
	// modes is how the ledger treats the order's requests.
	modes []ledger.Mode
	// harm does what goes wrong; the retry follows.
	harm func(ctx context.Context, d *run, s side, o order) error
	// heal is done after the retry.
	heal func(ctx context.Context, d *run, s side, o order) error
	// retry changes the order that is retried; nil: the same.
	retry func(o order) order
}

func killed(point string) func(context.Context, *run, side, order) error {
	return func(ctx context.Context, d *run, s side, o order) error { return d.killAt(ctx, s, o, point) }
}

func ran(ctx context.Context, d *run, s side, o order) error {
	_, err := d.once(ctx, s, o)
	return err
}

// held kills an agent whose request is on its way; the request goes on, like
// one in a slow network.
func held(ctx context.Context, d *run, s side, o order) error {
	c, err := d.agent(ctx, s, o, "")
	if err != nil {
		return err
	}
	defer c.kill()
	return d.ledger.WaitArrived(ctx, s.op(o), 1)
}

var scenarios = []scenario{
	{Name: "nothing goes wrong", harm: func(context.Context, *run, side, order) error { return nil }},
	{Name: "killed before the request is sent", harm: killed(stopBeforeSend)},
	{
		Name: "killed while the request is on its way", modes: ledger.Nth(1, ledger.Mode{}, ledger.Mode{Hold: true}), harm: held,
		heal: func(ctx context.Context, d *run, s side, o order) error {
			if err := d.ledger.Release(ctx, s.op(o)); err != nil {
				return err
			}
			return d.ledger.WaitDecided(ctx, s.op(o), 2)
		},
	},
	{Name: "killed after the payment", harm: killed(stopAfterPay)},
	{Name: "the answer is lost", modes: ledger.Nth(1, ledger.Mode{}, ledger.Mode{SwallowAnswer: true}), harm: ran},
	{Name: "killed before the caller is told", harm: killed(stopAfterReceipt)},
	{Name: "delivered again after success", harm: ran},
	{
		Name: "two agents at the same time", modes: ledger.Nth(1, ledger.Mode{}, ledger.Mode{Hold: true}),
		harm: func(ctx context.Context, d *run, s side, o order) error {
			first, err := d.agent(ctx, s, o, "")
			if err != nil {
				return err
			}
			d.beside = first
			return d.ledger.WaitArrived(ctx, s.op(o), 1)
		},
	},
	{
		Name: "retried with another amount", harm: ran,
		retry: func(o order) order { o.amount *= 10; return o },
	},
}

// result is one side of one row.
type result struct {
	Payments int    `json:"payments"` // counted at the ledger
	Retry    string `json:"retry"`    // what the retry was told
	State    string `json:"state,omitempty"`
	ID       string `json:"request_id,omitempty"`
}

// play runs one scenario on one side.
func (d *run) play(ctx context.Context, sc scenario, s side, o order) (result, error) {
	fail := func(err error) (result, error) {
		return result{}, fmt.Errorf("%s, %s: %w", sc.Name, s, err)
	}
	if err := d.ledger.Modes(ctx, s.op(o), sc.modes...); err != nil {
		return fail(err)
	}
	if err := sc.harm(ctx, d, s, o); err != nil {
		return fail(err)
	}
	again := o
	if sc.retry != nil {
		again = sc.retry(o)
	}
	t, story, err := d.retry(ctx, s, again)
	if err != nil {
		return fail(err)
	}
	if sc.heal != nil {
		if err := sc.heal(ctx, d, s, o); err != nil {
			return fail(err)
		}
	}
	n, err := d.ledger.Count(ctx, s.op(o))
	if err != nil {
		return fail(err)
	}
	return result{Payments: n, Retry: story, State: t.State, ID: t.RequestID}, nil
}

// retry runs the agent again, as a queue or a person would, and where the guard
// answers "uncertain" asks the lookup and tries once more.
func (d *run) retry(ctx context.Context, s side, o order) (told, string, error) {
	if d.beside != nil {
		return d.together(ctx, s, o)
	}
	t, err := d.once(ctx, s, o)
	if err != nil || t.Outcome != "uncertain" {
		return t, t.story(), err
	}
	asked, err := d.once(ctx, s, o, "--reconcile")
	if err != nil {
		return t, "", err
	}
	again, err := d.once(ctx, s, o)
	return again, fmt.Sprintf("uncertain → lookup: %s → %s", asked.lookup(), again.story()), err
}

// together retries beside an agent that is still at it.
func (d *run) together(ctx context.Context, s side, o order) (told, string, error) {
	first := d.beside
	d.beside = nil
	second, err := d.agent(ctx, s, o, "")
	if err != nil {
		first.kill()
		return told{}, "", err
	}
	if s == unguardedSide {
		// Without the guard the second one pays as well, while the first waits.
		if err := d.ledger.WaitDecided(ctx, s.op(o), 1); err != nil {
			return told{}, "", err
		}
	}
	if err := d.ledger.Release(ctx, s.op(o)); err != nil {
		return told{}, "", err
	}
	if _, err := first.finish(); err != nil {
		return told{}, "", err
	}
	t, err := second.finish()
	return t, t.story(), err
}

func (t told) story() string {
	switch t.Outcome {
	case "paid":
		return "paid"
	case "replayed":
		return "replayed the receipt"
	case "mismatch":
		return "refused: another amount under the same key"
	case "uncertain":
		return "uncertain, not run again"
	}
	return t.Outcome + ": " + t.Reason
}

func (t told) lookup() string {
	switch t.State {
	case "succeeded":
		return "it happened"
	case "released":
		return "it never will"
	}
	return t.Outcome
}
