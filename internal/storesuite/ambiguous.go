package storesuite

import (
	"context"
	"errors"

	"github.com/onceguard/onceguard"
)

// Loss is what becomes of a call through Ambiguous.
type Loss int

// The fates of a call: answered, lost on the way to the store, or lost on the
// way back. The caller cannot tell the last two apart.
const (
	Deliver    Loss = iota
	LoseBefore      // nothing was written
	LoseAfter       // it was written
)

// ErrAnswerLost is the cause of every failure that Ambiguous makes.
var ErrAnswerLost = errors.New("the answer was lost")

// Ambiguous returns s behind a line that loses answers, as choose says at each
// call; op is "claim", "renew", "settle", "resolve", "checkpoint" or
// "evidence". A lost answer is a *StoreError that is not Clean. Everything else
// passes, and the result is a Transactor if s is one: a store reads an unclear
// commit of its own back before Transact returns.
//
// choose is called from the goroutine of each call.
func Ambiguous(s onceguard.Store, choose func(op string) Loss) onceguard.Store {
	lossy := ambiguous{s, choose}
	if t, ok := s.(onceguard.Transactor); ok {
		return struct {
			ambiguous
			onceguard.Transactor
		}{lossy, t}
	}
	return lossy
}

type ambiguous struct {
	onceguard.Store
	choose func(op string) Loss
}

func lossy[A any](a ambiguous, op string, call func() (A, error)) (A, error) {
	var none A
	lost := &onceguard.StoreError{Op: op, Err: ErrAnswerLost}
	switch a.choose(op) {
	case LoseBefore:
		return none, lost
	case LoseAfter:
		var se *onceguard.StoreError
		if _, err := call(); errors.As(err, &se) && se.Permanent {
			return none, err // a refusal, not an answer that could be lost for ever
		}
		return none, lost
	}
	return call()
}

func (a ambiguous) Claim(ctx context.Context, c []onceguard.Claim) ([]onceguard.Answer, error) {
	return lossy(a, "claim", func() ([]onceguard.Answer, error) { return a.Store.Claim(ctx, c) })
}

func (a ambiguous) Renew(ctx context.Context, n []onceguard.Renewal) ([]onceguard.Answer, error) {
	return lossy(a, "renew", func() ([]onceguard.Answer, error) { return a.Store.Renew(ctx, n) })
}

func (a ambiguous) Settle(ctx context.Context, n []onceguard.Settlement) ([]onceguard.Answer, error) {
	return lossy(a, "settle", func() ([]onceguard.Answer, error) { return a.Store.Settle(ctx, n) })
}

func (a ambiguous) Resolve(ctx context.Context, n onceguard.Resolution) (onceguard.Answer, error) {
	return lossy(a, "resolve", func() (onceguard.Answer, error) { return a.Store.Resolve(ctx, n) })
}

func (a ambiguous) Checkpoint(ctx context.Context, c onceguard.Checkpoint) (onceguard.Answer, error) {
	return lossy(a, "checkpoint", func() (onceguard.Answer, error) { return a.Store.Checkpoint(ctx, c) })
}

func (a ambiguous) AppendEvidence(ctx context.Context, e onceguard.Evidence) error {
	_, err := lossy(a, "evidence", func() (struct{}, error) { return struct{}{}, a.Store.AppendEvidence(ctx, e) })
	return err
}
