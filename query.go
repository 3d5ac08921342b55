package onceguard

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// Query is what a lookup is told: everything the store knows of an uncertain
// request. The process that ran it may be long gone.
type Query struct {
	RequestID     RequestID
	Scope, Action string
	Key           Key
	// DownstreamKey is the key that every attempt of this generation sent.
	DownstreamKey string
	Attempts      []AttemptInfo
	Checkpoints   [][]byte // of Attempt.Checkpoint, oldest first
	// Input is JSON, present only where the action keeps it.
	Input json.RawMessage
	// UncertainFor is how long the record has been uncertain, by the store.
	UncertainFor time.Duration
	Reason       string
}

// AttemptInfo describes one attempt that may have acted.
type AttemptInfo struct {
	Number int64
	Age    time.Duration // since its claim, by the store's clock; zero where only its number is known
}

// query gathers what the store knows of an uncertain record.
func (c *core) query(ctx context.Context, rec Record, now time.Time) (Query, error) {
	ring, err := c.keys(ctx, false)
	if err != nil {
		return Query{}, err
	}
	key, err := ParseKey(rec.Key)
	if err != nil {
		return Query{}, err
	}
	input, err := ring.openInput(rec.ID, rec.Input)
	if err != nil {
		return Query{}, err
	}
	evidence, err := c.store.Evidence(ctx, rec.ID)
	if err != nil {
		return Query{}, err
	}
	q := Query{
		RequestID: rec.ID, Scope: rec.Scope, Action: rec.Action, Key: key, Input: input, Reason: rec.Reason,
		DownstreamKey: ring.downstreamKey(rec.ID, rec.Generation), UncertainFor: now.Sub(rec.Since),
	}
	for _, e := range evidence {
		switch {
		case e.Kind == EvidenceCheckpoint:
			q.Checkpoints = append(q.Checkpoints, e.Body)
		case (e.Kind == EvidenceTakeover || e.Kind == EvidenceWaiver) && e.Attempt < rec.Attempt && !q.knows(e.Attempt):
			q.Attempts = append(q.Attempts, AttemptInfo{Number: e.Attempt, Age: claimedAge(e.Detail, now)})
		}
	}
	q.Attempts = append(q.Attempts, AttemptInfo{Number: rec.Attempt, Age: now.Sub(rec.ClaimedAt)})
	return q, nil
}

func (q Query) knows(attempt int64) bool {
	for _, a := range q.Attempts {
		if a.Number == attempt {
			return true
		}
	}
	return false
}

// claimedAge reads the claim's time out of a takeover's detail, as
// Record.claimed writes it.
func claimedAge(detail string, now time.Time) time.Duration {
	_, rest, ok := strings.Cut(detail, claimedMark)
	if !ok {
		return 0
	}
	text, _, _ := strings.Cut(rest, ",")
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0
	}
	return now.Sub(at)
}
