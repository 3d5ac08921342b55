package onceguard

import (
	"context"
	"time"
)

// Store is the durable memory of a guard, written for implementers; callers use
// Guard. Package storetest is the suite that every store must pass.
//
// Contract:
//   - A method that changes rows does so in one transaction per row and returns
//     only when it is durable: after kill -9 of the store or the power, what was
//     answered is still there.
//   - The decision belongs to the Record rules (Record.Claim and its siblings):
//     a store applies them under a lock on the row, or with one conditional
//     statement of the same meaning. It never decides by itself.
//   - The store's own clock, read no earlier than the row lock was taken where
//     a lease is written. Callers send durations, never timestamps.
//   - Slices: members succeed and fail singly, through Answer.Err; the answers
//     come in the order of the questions. A request ID occurs at most once in a
//     call. The method's own error means that nothing is known of any member.
//   - Every error is a *StoreError that says whether something may have been
//     written. Claim, Settle, Renew and Resolve may be sent again with the same
//     token after an unclear answer: the rules make them idempotent.
//   - A context that ends must not turn a durable write into a non-durable one;
//     the guard calls with contexts of its own, not the caller's.
//   - All methods may be called concurrently.
type Store interface {
	Claim(ctx context.Context, claims []Claim) ([]Answer, error)
	Renew(ctx context.Context, renewals []Renewal) ([]Answer, error)
	Settle(ctx context.Context, settlements []Settlement) ([]Answer, error)
	// Get reads without writing; Answer.Outcome is Missing or Found.
	Get(ctx context.Context, ids []RequestID) ([]Answer, error)
	// Resolve is a decision by somebody who does not own the claim.
	Resolve(ctx context.Context, r Resolution) (Answer, error)

	// AppendEvidence adds to the append-only record; equal evidence (same ID,
	// Kind, Attempt, Body) is kept once.
	AppendEvidence(ctx context.Context, e Evidence) error
	// Checkpoint adds evidence in the owner's name; Fenced if it is not the owner.
	Checkpoint(ctx context.Context, c Checkpoint) (Answer, error)
	Evidence(ctx context.Context, id RequestID) ([]Evidence, error)
	List(ctx context.Context, f Filter) (Page, error)

	// Sweep parks up to limit lapsed claims that no claim may take over (T5)
	// and returns the parked records.
	Sweep(ctx context.Context, limit int) ([]Record, error)
	// Prune looks at up to limit records and applies T15 to those past their
	// retention. It is done when Pruned.Done.
	Prune(ctx context.Context, p PruneRequest) (Pruned, error)
	// Import inserts final records of work done before adoption, if absent.
	Import(ctx context.Context, records []Record) ([]Answer, error)

	// Secrets inserts the offered secrets whose Name is absent and returns all
	// that are stored, ordered by Name.
	Secrets(ctx context.Context, offer []Secret) ([]Secret, error)
	Info(ctx context.Context) (StoreInfo, error)
	// Acknowledge unfreezes the store after its epoch changed: a compare-and-set
	// on the epoch that the operator was shown.
	Acknowledge(ctx context.Context, a Acknowledgement) error
	Close() error
}

// Transactor is the second small interface of a store that can run T11: the
// claim, the caller's rows and the receipt in one transaction.
//
// Transact calls fn once per try, with the store's own transaction (a pgx.Tx or
// a *sql.Tx) and only when the request is absent or released. fn returns the
// settlement to commit, or an error that rolls back everything. If the request
// exists in another state, fn is not called and the answer is as for Claim. A
// commit with unclear outcome is read back by token before Transact returns.
type Transactor interface {
	Transact(ctx context.Context, c Claim, fn func(ctx context.Context, tx any) (Result, error)) (Answer, error)
	// TxType names the transaction type for error messages, such as "pgx.Tx".
	TxType() string
}

// Archiver is the second small interface of a store that can be written out
// whole and filled again: backup and restore.
type Archiver interface {
	// Dump calls yield for every record with its evidence, from one snapshot.
	Dump(ctx context.Context, yield func(Record, []Evidence) error) error
	// Load fills an empty store with the archive's identity, secrets and rows,
	// gives it a new epoch and freezes it. It refuses a store that has rows.
	Load(ctx context.Context, info StoreInfo, secrets []Secret, next func() (Record, []Evidence, error)) error
}

// Outcome is what a store answered.
type Outcome uint8

// The outcomes. Record holds the row as it is after the call, unless noted.
const (
	NoOutcome  Outcome = iota
	Granted            // the claim is yours: start the effect
	Held               // claimed by another, lease running
	Parked             // uncertain
	Settled            // final
	Mismatched         // same request ID, another fingerprint; Record is empty
	KeyUnknown         // the row's fingerprint key or version is not among the offered; Record.Fingerprint names it
	TooOld             // the key's own time is before the identity retention: never executed
	Frozen             // the store's epoch changed and nobody acknowledged it
	Fenced             // attempt and token do not own the row
	Applied            // done: renewed, released, parked, resolved, kept, deleted
	Stale              // compare-and-set failed: the row moved on
	Missing            // no such row
	Found              // Get
)

var outcomeNames = [...]string{"none", "granted", "held", "parked", "settled", "mismatched", "key-unknown", "too-old", "frozen", "fenced", "applied", "stale", "missing", "found"}

// String names the outcome.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown-outcome"
}

// Answer is a store's reply about one member.
type Answer struct {
	Outcome    Outcome
	Transition Transition
	Record     Record
	Mine       bool      // the row carries the token that was sent
	Now        time.Time // the store's clock when it decided
	Err        error     // this member's own *StoreError; the rest is then empty
}

// StoreInfo says which store this is and what it can lose.
type StoreInfo struct {
	Kind       string // "memory", "sqlite", "postgres"
	Name       string // for people: a path or host and database, no password
	StoreID    string // random, made at creation, travels with backups
	Epoch      string // changes on failover and restore
	Frozen     bool   // at-most-once claims are refused until Acknowledge
	FrozenWhy  string
	Durability string // what an acknowledged write survives, as verified
	Schema     int64
	Version    string // of the server or library
	Warnings   []string
}

// Acknowledgement unfreezes a store.
type Acknowledgement struct {
	Epoch  string // as StoreInfo showed it
	By     string
	Reason string
}

// Secret is a named value that the store keeps for the guard: fingerprint keys,
// the downstream secret, data keys. Value may be wrapped by an outside key.
type Secret struct {
	Name      string
	Value     []byte
	Wrapped   bool
	CreatedAt time.Time
}

// Filter selects records for List, newest first. Zero fields select all.
type Filter struct {
	Scope, Action string
	Key           string // encoded, exact
	States        []State
	Waived        bool          // only receipts with a waived guarantee
	OlderThan     time.Duration // entered their state at least so long ago
	NewerThan     time.Duration
	Cursor        string // Page.Next of the page before
	Limit         int    // 0 means 100; at most 1000
	Results       bool   // with result bodies
}

// Page is one page of List.
type Page struct {
	Records []Record
	Next    string // empty: the last page
	Now     time.Time
}

// PruneRequest bounds one Prune call.
type PruneRequest struct {
	Limit  int
	Cursor string // Pruned.Next of the call before
	DryRun bool   // count, change nothing
}

// Pruned is what one Prune call did.
type Pruned struct {
	Looked     int
	Tombstoned int // results dropped
	Deleted    int // identities dropped
	Next       string
	Done       bool
}
