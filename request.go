package onceguard

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
)

// Request is one intended effect, for Do and DoTx. Actions build it themselves.
type Request struct {
	Action string // the named kind of effect, "refund.create"; identity, never changes
	Key    Key    // which one: the same on every retry
	// Input is what the request means; the same key with another input is a
	// mismatch. Zero-valued fields do not count, so that a field added later
	// does not turn every retry into a mismatch. Nil: the key says it all.
	Input any
	// RawInput, instead of Input, is compared byte for byte.
	RawInput []byte

	Policy Policy
	Limits Limits
	// Classify turns an effect's undeclared error into NotExecuted or Refused;
	// nil or an undeclared error back means unknown.
	Classify func(error) error
	// Keep is stored as JSON with the record, for the reconcile lookup of
	// another process; at most 1 MiB. Nil: nothing is kept.
	Keep any
	// RunAfterNeverWill lets a request whose lookup proved "never happened and
	// never will" run again under a new downstream key, instead of failing.
	RunAfterNeverWill bool
	// Codec overrides the guard's.
	Codec Codec
	// Sensitive keeps the result out of the guard's replay cache: once the call
	// has returned, nothing of it stays in this process's memory. Each replay
	// then asks the store. It says nothing about how the store keeps the result;
	// see Options.KeyEncryptionKey.
	Sensitive bool
}

// prepare turns a request into a call. Whatever is wrong with it is found
// here, before anything is claimed.
func (g *Guard) prepare(ctx context.Context, r Request, result reflect.Type) (*call, error) {
	c := &call{core: g.core, key: r.Key, limits: r.Limits.or(g.opts.Limits), codec: r.Codec, classify: r.Classify, sensitive: r.Sensitive}
	c.claim = Claim{Scope: g.scope, Action: r.Action, Process: g.process, Policy: r.Policy, RunAfterNeverWill: r.RunAfterNeverWill}
	invalid := func(err error) error {
		e := c.fail(ErrInvalid, false, "", err)
		return e
	}
	if c.codec == nil {
		c.codec = g.opts.Codec
	}
	id, err := NewRequestID(g.scope, r.Action, r.Key)
	if err != nil {
		return nil, invalid(err)
	}
	c.claim.ID, c.claim.Key = id, r.Key.Encoded()
	if err := r.Policy.Validate(); err != nil {
		return nil, invalid(err)
	}
	if err := c.limits.validate(); err != nil {
		return nil, invalid(err)
	}
	if err := storable(c.codec, result); err != nil {
		return nil, invalid(err)
	}
	if enclosed(ctx, id) {
		return nil, invalid(errNested)
	}
	if why := c.limits.shortRetention(); why != "" {
		if _, told := c.warned.LoadOrStore(r.Action+" "+why, true); !told {
			ev := c.event(EventWarning, Record{})
			ev.Detail = why
			c.observe(ctx, ev)
		}
	}
	if err := c.fingerprint(ctx, r); err != nil {
		return nil, invalid(err)
	}
	c.claim.Lease = c.limits.Lease
	c.claim.ResultRetention, c.claim.IdentityRetention = c.limits.ResultRetention, c.limits.IdentityRetention
	return c, nil
}

func (c *call) fingerprint(ctx context.Context, r Request) (err error) {
	switch {
	case r.RawInput != nil && r.Input != nil:
		return fmt.Errorf("both Input and RawInput are set; give one")
	case r.RawInput != nil:
		c.kind, c.meaning = fingerprintRaw, r.RawInput
	default:
		c.kind = fingerprintValue
		if c.meaning, err = canonicalValue(r.Input); err != nil {
			return fmt.Errorf("input: %w", err)
		}
	}
	ring, err := c.keys(ctx, false)
	if err != nil {
		return err
	}
	c.claim.Fingerprints = ring.sums(c.kind, c.meaning)
	if r.Keep == nil {
		return nil
	}
	kept, err := json.Marshal(r.Keep)
	if err != nil {
		return fmt.Errorf("input to keep: %w", err)
	}
	if len(kept) > DefaultMaxResult {
		return fmt.Errorf("input to keep has %d bytes; at most %d are kept", len(kept), DefaultMaxResult)
	}
	c.claim.Input = ring.sealInput(c.claim.ID, kept)
	return nil
}

// Preview is what Do would be about.
type Preview struct {
	RequestID   RequestID
	Fingerprint Fingerprint // under the current key
	Record      Record      // its State is Absent where there is none
}

// Preview looks at a request, claiming nothing and running nothing. A record
// of another input is ErrMismatch, as it would be for Do. What it says may be
// over by the time you read it: never decide by it whether to act.
func (g *Guard) Preview(ctx context.Context, r Request) (Preview, error) {
	c, err := g.prepare(ctx, r, nil)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{RequestID: c.claim.ID, Fingerprint: c.claim.Fingerprints[0]}
	answers, err := g.store.Get(ctx, []RequestID{c.claim.ID})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return p, c.fail(ErrNotRun, false, "the store did not answer", err)
	}
	rec := answers[0].Record
	match, known := rec.matches(c.claim)
	if nothing := rec.State == Absent || rec.State == Released && !rec.UnknownAttempt; known && !match && !nothing {
		return p, c.fail(ErrMismatch, false, "", nil)
	}
	p.Record = rec
	return p, nil
}
