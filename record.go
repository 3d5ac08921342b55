package onceguard

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// Record is the durable row of one request ID, as a store keeps it. Times are
// the store's clock and serve reading and audit; nothing outside the store
// compares them with another clock.
type Record struct {
	ID          RequestID
	Scope       string
	Action      string
	Key         string // Key.Encoded
	Fingerprint Fingerprint
	Policy      Policy

	State      State
	Attempt    int64 // only grows, never reset
	Owner      OwnerHash
	Process    string // who holds the claim: process identities, for early parking
	Generation int    // of the downstream key; rises only on NeverWill

	// UnknownAttempt: an attempt earlier than the present one, or the present
	// one after T9b, may have happened and can no longer say so.
	UnknownAttempt bool
	// Waived: a person ordered another run although an attempt is unknown.
	Waived bool
	// RunAfterNeverWill is the action's opt-in to a fresh run after NeverWill.
	RunAfterNeverWill bool

	CreatedAt  time.Time // first claim
	KeyedAt    time.Time // when the present downstream key may first have been sent
	ClaimedAt  time.Time // claim of the present attempt
	LeaseUntil time.Time // zero unless claimed
	Since      time.Time // when the record entered its state

	SettledBy string // "owner", "reconciler", "operator:NAME", "import:NAME"
	Reason    string // of a refusal, an uncertain record or a resolution
	Result    Result

	ResultRetention   time.Duration // Forever = never dropped
	IdentityRetention time.Duration
	Input             []byte // only where the action keeps it
	Pruned            bool   // a tombstone: result and input are gone
}

// Forever, as a retention, keeps things without end.
const Forever time.Duration = -1

// Result is the stored outcome's body.
type Result struct {
	Body    []byte
	Type    string    // the value's type name and version, checked on replay
	Digest  [32]byte  // SHA-256 of Body as stored
	Missing ResultGap // why there is no Body
}

// ResultGap says why a known outcome has no body.
type ResultGap uint8

// Reasons for a missing body. The numbers are stored.
const (
	HasBody        ResultGap = 0
	BodyPruned     ResultGap = 1 // dropped after retention
	BodyTooLarge   ResultGap = 2 // over the limit at settle time
	BodyUnstorable ResultGap = 3 // the value could not be encoded
	BodyNotKept    ResultGap = 4 // streamed or imported without one
	BodyDiskFull   ResultGap = 5 // the store had room for the outcome alone
)

var gapNames = [...]string{"", "pruned", "too-large", "unstorable", "not-kept", "disk-full"}

// String names the gap; empty when there is a body.
func (g ResultGap) String() string {
	if int(g) < len(gapNames) {
		return gapNames[g]
	}
	return "unknown-gap"
}

// NewResult builds a Result with its digest.
func NewResult(typ string, body []byte) Result {
	return Result{Body: body, Type: typ, Digest: sha256.Sum256(body)}
}

// Intact reports whether the body still has the digest it was stored with.
func (r Result) Intact() bool {
	return r.Missing != HasBody || sha256.Sum256(r.Body) == r.Digest
}

// Token is the 128-bit random secret that a claim call holds. Whoever has it
// may settle the attempt, so it is never logged; stores keep its SHA-256.
type Token [16]byte

// OwnerHash is the SHA-256 of a Token.
type OwnerHash [32]byte

// Hash returns what a store keeps of t.
func (t Token) Hash() OwnerHash { return sha256.Sum256(t[:]) }

// String hides the token from logs and errors.
func (t Token) String() string { return "[owner token]" }

// GoString hides the token from %#v.
func (t Token) GoString() string { return "[owner token]" }

// Is compares in constant time.
func (h OwnerHash) Is(t Token) bool {
	other := t.Hash()
	return subtle.ConstantTimeCompare(h[:], other[:]) == 1
}

// HorizonLeft is how long the downstream still honours the present key, by the
// store's clock now; the second value is false where no horizon applies.
func (r Record) HorizonLeft(now time.Time) (time.Duration, bool) {
	if r.Policy.Kind != SafeRetryKind {
		return 0, false
	}
	return r.KeyedAt.Add(r.Policy.Horizon).Sub(now), true
}

// LeaseLeft is what remains of the claim's lease by the store's clock now; it
// is zero or negative when the lease is over, and zero unless claimed.
func (r Record) LeaseLeft(now time.Time) time.Duration {
	if r.State != Claimed {
		return 0
	}
	return r.LeaseUntil.Sub(now)
}

// holds reports whether (attempt, token) own the present attempt.
func (r Record) holds(attempt int64, t Token) bool {
	if mutant.On("no-fence") {
		return true
	}
	return r.Attempt == attempt && r.Owner.Is(t)
}

// enter moves the record into a state at the store's time now.
func (r *Record) enter(s State, now time.Time) {
	r.State, r.Since = s, now
	if s != Claimed {
		r.LeaseUntil = time.Time{}
	}
}
