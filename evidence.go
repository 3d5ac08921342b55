package onceguard

import "time"

// EvidenceKind names why a piece of evidence was kept.
type EvidenceKind string

// The kinds of evidence.
const (
	EvidenceTakeover    EvidenceKind = "takeover"      // T4, T3: what is known of the attempt before
	EvidenceParked      EvidenceKind = "parked"        // T5, T9: why nobody knows
	EvidenceReleased    EvidenceKind = "released"      // T10: the owner's reason
	EvidenceLate        EvidenceKind = "late-result"   // a superseded attempt's outcome
	EvidenceConflict    EvidenceKind = "contradiction" // T14: differs from the settled receipt
	EvidenceRefusal     EvidenceKind = "refusal"       // T8 that could not settle
	EvidenceLookup      EvidenceKind = "lookup"        // what a reconcile lookup said
	EvidenceResolution  EvidenceKind = "resolution"    // T12, T13
	EvidenceWaiver      EvidenceKind = "waiver"        // T13 run again
	EvidenceCheckpoint  EvidenceKind = "checkpoint"    // Attempt.Checkpoint
	EvidenceFingerprint EvidenceKind = "fingerprint"   // T3 recorded another input
	EvidencePolicy      EvidenceKind = "policy"        // row and declaration differ
	EvidenceEpoch       EvidenceKind = "epoch"         // failover, restore, acknowledgement
)

// Limits on evidence, so that a confused owner cannot fill the store.
const (
	MaxEvidenceBody = 64 << 10 // bytes; longer bodies are cut and say so
	MaxEvidence     = 1000     // per request; further pieces are dropped
)

// Evidence is one append-only note about a request: what contradicts or
// explains its receipt.
type Evidence struct {
	ID      RequestID
	Kind    EvidenceKind
	Attempt int64
	At      time.Time // store clock, set by the store
	By      string
	Detail  string
	Body    []byte // a late result, a checkpoint; dropped with the result
}

// Checkpoint is the owner's note about a running attempt, such as the
// provider's id of the payment, kept for the reconcile lookup.
type Checkpoint struct {
	ID      RequestID
	Attempt int64
	Owner   Token
	Body    []byte
}

// note builds evidence about r's present attempt.
func (r Record) note(k EvidenceKind, by, detail string, body []byte) Evidence {
	return Evidence{ID: r.ID, Kind: k, Attempt: r.Attempt, By: by, Detail: detail, Body: body}.Bounded()
}
