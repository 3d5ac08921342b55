package onceguard

import (
	"context"
	"fmt"

	"github.com/onceguard/onceguard/internal/mutant"
)

// Attempt is what a running effect knows of itself.
type Attempt struct {
	c *call
	g grant
	k *keyring
}

// RequestID is the request's deterministic identity.
func (a *Attempt) RequestID() RequestID { return a.c.claim.ID }

// Scope is the request's scope.
func (a *Attempt) Scope() string { return a.c.claim.Scope }

// Action is the request's action.
func (a *Attempt) Action() string { return a.c.claim.Action }

// Number counts the attempts of this request, from 1. It is for logs and
// headers that explain, never for an idempotency key.
func (a *Attempt) Number() int64 { return a.g.answer.Record.Attempt }

// DownstreamKey is the idempotency key for the provider: 52 characters of
// lower-case base32, the same on every attempt, different for every store.
func (a *Attempt) DownstreamKey() string {
	if mutant.On("key-per-attempt") {
		return a.k.downstreamKey(a.c.claim.ID, a.g.answer.Record.Generation+int(a.Number())-1)
	}
	return a.k.downstreamKey(a.c.claim.ID, a.g.answer.Record.Generation)
}

// MinDownstreamKey is the shortest downstream key, in characters: 100 bits.
const MinDownstreamKey = 20

// DownstreamKeyLen is DownstreamKey cut to the provider's limit of n
// characters, which must be at least MinDownstreamKey.
func (a *Attempt) DownstreamKeyLen(n int) (string, error) {
	if n < MinDownstreamKey {
		return "", NotExecuted(fmt.Errorf("a downstream key of %d characters could collide; the provider must take at least %d", n, MinDownstreamKey))
	}
	key := a.DownstreamKey()
	return key[:min(n, len(key))], nil
}

// Slot is a key for one of several effects inside this one (five mails of a
// batch, a nested tool call): it derives from this request and the slot's name.
func (a *Attempt) Slot(name string) Key { return a.c.claim.ID.Slot(name) }

// Ready reports whether the effect may still be started. Transports call it
// again right before the first byte, and return its error as it is when they
// have sent nothing: it is a NotExecuted.
func (a *Attempt) Ready() error {
	if a.g.fence.left() <= 0 {
		return NotExecuted(ErrLeaseLost)
	}
	return nil
}

// Checkpoint keeps a note about the attempt, such as the provider's id of the
// payment, as evidence for the reconcile lookup. It returns when the note is
// durable; an error leaves the attempt as it is. At most MaxEvidenceBody bytes.
// It is stored as given, not encrypted.
func (a *Attempt) Checkpoint(ctx context.Context, body []byte) error {
	if len(body) > MaxEvidenceBody {
		return fmt.Errorf("onceguard: checkpoint of %d bytes; at most %d are kept, nothing was stored", len(body), MaxEvidenceBody)
	}
	sctx, cancel := a.c.detached(ctx)
	defer cancel()
	ans, err := a.c.store.Checkpoint(sctx, Checkpoint{ID: a.c.claim.ID, Attempt: a.Number(), Owner: a.g.token, Body: body})
	if err == nil {
		err = ans.Err
	}
	if err != nil {
		return fmt.Errorf("onceguard: checkpoint: %w", err)
	}
	if ans.Outcome != Applied {
		return fmt.Errorf("onceguard: checkpoint: the store answered %s: this attempt is no longer the owner", ans.Outcome)
	}
	return nil
}
