package guardtest

import (
	"context"
	"errors"

	"github.com/onceguard/onceguard"
)

var errBroken = errors.New("the line broke")

// outcomeCases end the first delivery in every way that an effect can.
var outcomeCases = []testCase{
	{"unknown outcome", func(f *fixture) {
		f.handle(func(ctx context.Context, m Message) (string, error) {
			_, _ = f.act(ctx, m)
			return "", errBroken // it happened, and the answer was lost
		})
		f.send(first, Uncertain)
		f.handle(f.act)
		f.send(first, Uncertain)
		f.restart()
		f.send(first, Uncertain)
		f.took(first, 1, 1)
	}},
	{"unknown outcome, changed payload", func(f *fixture) {
		f.handle(ending(errBroken))
		f.send(first, Uncertain)
		f.send(Message{ID: first.ID, Payload: "refund 900"}, Mismatch)
		f.took(first, 1, 0)
	}},
	{"not executed runs again", func(f *fixture) {
		f.handle(ending(onceguard.NotExecuted(errBroken)))
		f.send(first, Again)
		f.took(first, 1, 0)
		f.handle(f.act)
		f.sendDone(first)
		f.sendDone(first)
		f.took(first, 2, 1)
	}},
	{"refused for good", func(f *fixture) {
		f.handle(ending(onceguard.Refused(errors.New("card declined"))))
		f.send(first, Refused)
		f.handle(f.act)
		f.send(first, Refused)
		f.took(first, 1, 0)
	}},
	{"panic", func(f *fixture) {
		f.handle(func(context.Context, Message) (string, error) { panic("guardtest: the handler panics") })
		func() {
			defer func() { _ = recover() }() // an adapter may let it through
			f.expect(f.deliver(f.ctx, first), Uncertain)
		}()
		f.handle(f.act)
		f.send(first, Uncertain)
		f.took(first, 1, 0)
	}},
}
