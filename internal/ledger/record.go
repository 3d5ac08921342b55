package ledger

import "time"

// Headers of POST /effects.
const (
	HeaderOp       = "Ledger-Op"
	HeaderKey      = "Idempotency-Key"
	HeaderAttempt  = "Onceguard-Attempt"
	HeaderReplayed = "Idempotent-Replayed" // "true" in the answer that Decision Dedup gives
)

// Decision is what the ledger did with a request.
type Decision string

// Decisions. Applied alone is an effect.
const (
	Applied    Decision = "applied"
	Dedup      Decision = "dedup"       // key known: its effect or refusal was answered again
	Refused    Decision = "refused"     // 402
	Voided     Decision = "voided"      // 410
	Mismatch   Decision = "mismatch"    // 422: key known with another body
	InProgress Decision = "in-progress" // 409
	Failed     Decision = "failed"      // 500 before applying
	Dropped    Decision = "dropped"     // connection closed before applying
	Died       Decision = "died"        // process ended before applying
)

// Effect is something that happened.
type Effect struct {
	ID      string    `json:"effect"`
	Op      string    `json:"op"`
	Key     string    `json:"key,omitempty"`
	Attempt int64     `json:"attempt,omitempty"` // 0: the request did not say
	Body    string    `json:"body"`              // "sha256:" and the digest in hex
	Arrived time.Time `json:"arrived"`
}

// Record is one line of the ledger's file: a decided request, or a void where
// Through is not 0.
type Record struct {
	N        int       `json:"n"` // from 1
	Op       string    `json:"op,omitempty"`
	Key      string    `json:"key,omitempty"`
	Attempt  int64     `json:"attempt,omitempty"`
	Body     string    `json:"body,omitempty"`
	Arrived  time.Time `json:"arrived"`
	Decision Decision  `json:"decision,omitempty"`
	Effect   string    `json:"effect,omitempty"` // applied, dedup: the effect's ID; none: a refusal was repeated
	Reason   string    `json:"reason,omitempty"`
	Through  int64     `json:"through,omitempty"`
}

// Summary counts applied effects.
type Summary struct {
	Total int            `json:"total"`
	Ops   map[string]int `json:"ops"` // every op with a decided request, also with 0 effects
}

// Duplicates is the number of effects beyond the first of each op.
func (s Summary) Duplicates() int {
	n := 0
	for _, applied := range s.Ops {
		n += max(0, applied-1)
	}
	return n
}
