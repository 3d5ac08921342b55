package onceguard

import (
	"fmt"
	"time"
)

// PolicyKind names what a guard may do with an attempt whose outcome is
// unknown. The zero value is AtMostOnceKind, the strictest for outside effects.
type PolicyKind uint8

// The four policies. Their numbers are stored and never change.
const (
	AtMostOnceKind    PolicyKind = 0 // never started again by itself
	SafeRetryKind     PolicyKind = 1 // the downstream dedups by our key within a horizon
	RerunKind         PolicyKind = 2 // declared harmless to repeat
	TransactionalKind PolicyKind = 3 // the effect is rows of the store's own database
)

var policyNames = [...]string{"at-most-once", "safe-retry", "rerun", "transactional"}

// String returns the policy's name, such as "at-most-once".
func (k PolicyKind) String() string {
	if int(k) < len(policyNames) {
		return policyNames[k]
	}
	return fmt.Sprintf("policy(%d)", uint8(k))
}

// ParsePolicyKind is the inverse of String.
func ParsePolicyKind(s string) (PolicyKind, error) {
	for i, n := range policyNames {
		if n == s {
			return PolicyKind(i), nil
		}
	}
	return 0, fmt.Errorf("unknown policy %q: use at-most-once, safe-retry, rerun or transactional", s)
}

// Refusals says whether the downstream answers a refused idempotency key with
// the same refusal for the whole horizon. It has no default: a wrong guess
// turns "refused" into "declined on record, paid in fact".
type Refusals uint8

// Values of Refusals.
const (
	RefusalsUnset      Refusals = 0
	RefusalsRemembered Refusals = 1 // a refused key stays refused
	RefusalsForgotten  Refusals = 2 // a refused key may succeed when sent again
)

// DefaultMaxAttempts bounds how often safe-retry and rerun may start one
// request before it is parked as uncertain.
const DefaultMaxAttempts = 5

// Policy is the rule recorded with a request: which kind, and the facts about
// the downstream that the kind needs. The zero Policy is at-most-once.
type Policy struct {
	Kind        PolicyKind
	Horizon     time.Duration // safe-retry: how long the downstream honours our key
	Refusals    Refusals      // safe-retry: required
	MaxAttempts int           // safe-retry and rerun; 0 means DefaultMaxAttempts
}

// AtMostOnce never starts an effect again unless it surely did not happen.
var AtMostOnce = Policy{Kind: AtMostOnceKind}

// Rerun may start the effect again whenever an attempt is lost. Use it only
// where a second execution is harmless; the name is there for the reviewer.
var Rerun = Policy{Kind: RerunKind}

// Transactional is for DoTx: the claim, the caller's rows and the receipt
// commit in one transaction of the store's database.
var Transactional = Policy{Kind: TransactionalKind}

// SafeRetry may start the effect again with the same downstream key, because
// the downstream promises to act once per key for the horizon. Both facts come
// from the provider's documentation; there is no default for either.
func SafeRetry(horizon time.Duration, refusals Refusals) Policy {
	return Policy{Kind: SafeRetryKind, Horizon: horizon, Refusals: refusals}
}

// Validate reports what is missing or contradictory in p.
func (p Policy) Validate() error {
	switch {
	case int(p.Kind) >= len(policyNames):
		return fmt.Errorf("policy %d is not known to this version", p.Kind)
	case p.MaxAttempts < 0:
		return fmt.Errorf("policy %s: MaxAttempts is %d; it must be 0 (default %d) or more", p.Kind, p.MaxAttempts, DefaultMaxAttempts)
	case p.Kind == SafeRetryKind && p.Horizon <= 0:
		return fmt.Errorf("policy safe-retry needs a horizon: how long the downstream honours an idempotency key (its documentation says)")
	case p.Kind == SafeRetryKind && p.Refusals != RefusalsRemembered && p.Refusals != RefusalsForgotten:
		return fmt.Errorf("policy safe-retry needs to know whether the downstream remembers refusals under a key: RefusalsRemembered or RefusalsForgotten")
	case p.Kind != SafeRetryKind && (p.Horizon != 0 || p.Refusals != RefusalsUnset):
		return fmt.Errorf("policy %s takes no horizon and no refusal behaviour; they belong to safe-retry", p.Kind)
	}
	return nil
}

// repeats says whether an attempt with unknown outcome may be followed by
// another one at all.
func (p Policy) repeats() bool { return p.Kind == SafeRetryKind || p.Kind == RerunKind }

func (p Policy) attempts() int64 {
	if p.MaxAttempts == 0 {
		return DefaultMaxAttempts
	}
	return int64(p.MaxAttempts)
}

// strictness orders kinds for the case that a deploy changed a declaration
// while rows of the old one are open: the stricter of the two governs.
func (k PolicyKind) strictness() int {
	switch k {
	case RerunKind:
		return 0
	case SafeRetryKind:
		return 1
	default:
		return 2
	}
}

// stricter combines the policy on the row with the declared one: the stricter
// kind, the shorter horizon, the fewer attempts, refusals remembered only if
// both say so.
func stricter(row, declared Policy) Policy {
	p := row
	if declared.Kind.strictness() > row.Kind.strictness() {
		p.Kind = declared.Kind
	}
	if declared.attempts() < row.attempts() {
		p.MaxAttempts = declared.MaxAttempts
	}
	p.Horizon, p.Refusals = 0, RefusalsUnset
	if p.Kind == SafeRetryKind {
		p.Horizon, p.Refusals = row.Horizon, row.Refusals
		if row.Kind != SafeRetryKind || (declared.Kind == SafeRetryKind && declared.Horizon < row.Horizon) {
			p.Horizon = declared.Horizon
		}
		if row.Kind != SafeRetryKind || (declared.Kind == SafeRetryKind && declared.Refusals == RefusalsForgotten) {
			p.Refusals = declared.Refusals
		}
	}
	return p
}
