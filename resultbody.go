package onceguard

import (
	"context"
	"errors"
)

// SealResult returns the form in which this guard stores an encoded result:
// encrypted where a key encryption key is given. It is for tools that write
// final records through Store.Import.
func (g *Guard) SealResult(ctx context.Context, id RequestID, typ string, body []byte) (Result, error) {
	ring, err := g.keys(ctx, false)
	if err != nil {
		return Result{}, err
	}
	return ring.sealResult(id, typ, body), nil
}

// OpenResult returns the body of a settled record as its action's codec wrote
// it, for tools that show or export receipts. Errors are ErrNoResult where
// there is no body, ErrCorrupt where it fails its digest, and ErrKeyMissing
// where it is encrypted under a key that this guard does not have.
func (g *Guard) OpenResult(ctx context.Context, r Record) ([]byte, error) {
	fail := func(code Code, reason string, cause error) error {
		return &Error{
			Code: code, RequestID: r.ID, Scope: r.Scope, Action: r.Action, Store: g.name, State: r.State, Attempt: r.Attempt,
			Since: r.Since, SettledBy: r.SettledBy, Reason: reason, MayHaveRun: r.State.MayHaveRun(), Err: cause,
		}
	}
	switch {
	case r.Result.Missing != HasBody:
		return nil, fail(ErrNoResult, "the result is "+r.Result.Missing.String(), nil)
	case !r.State.Final():
		return nil, fail(ErrNoResult, "the request is not settled", nil)
	case !r.Result.Intact():
		return nil, fail(ErrCorrupt, "the stored result does not have its digest", nil)
	}
	ring, err := g.keys(ctx, false)
	if err != nil {
		return nil, err
	}
	body, err := ring.openResult(r.ID, r.Result)
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, ErrKeyMissing):
		return nil, err
	}
	return nil, fail(ErrCorrupt, "", err)
}
