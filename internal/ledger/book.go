package ledger

import (
	"fmt"
	"time"
)

// book is what the records add up to. The server's lock guards it.
type book struct {
	records []Record
	effects []Effect
	applied map[string]Effect // by key, the latest
	refused map[string]Record // by key, the latest
	voided  map[string]int64  // by key, the highest attempt
	ops     map[string]int    // applied effects
}

func newBook(records []Record) *book {
	b := &book{
		applied: make(map[string]Effect), refused: make(map[string]Record),
		voided: make(map[string]int64), ops: make(map[string]int),
	}
	for _, r := range records {
		b.add(r)
	}
	return b
}

// add enters a record that is in the file.
func (b *book) add(r Record) {
	b.records = append(b.records, r)
	if r.Through != 0 {
		b.voided[r.Key] = max(b.voided[r.Key], r.Through)
		return
	}
	b.ops[r.Op] += 0
	switch r.Decision {
	case Applied:
		e := Effect{ID: r.Effect, Op: r.Op, Key: r.Key, Attempt: r.Attempt, Body: r.Body, Arrived: r.Arrived}
		b.effects = append(b.effects, e)
		b.ops[r.Op]++
		if r.Key != "" {
			b.applied[r.Key] = e
		}
	case Refused:
		if r.Key != "" {
			b.refused[r.Key] = r
		}
	case Dedup, Voided, Mismatch, InProgress, Failed, Dropped, Died:
		// No effect, and nothing that a later request could meet.
	}
}

// next returns the record that follows, for a request that is being decided.
func (b *book) next(r Record) Record {
	r.N = len(b.records) + 1
	return r
}

// decide completes r, a request of now, under mode.
func (b *book) decide(r Record, mode Mode, now time.Time) Record {
	r = b.next(r)
	switch {
	case mode.SwallowRequest:
		r.Decision = Dropped
		return r
	case mode.Die == Before:
		r.Decision = Died
		return r
	case mode.InProgress:
		r.Decision, r.Reason = InProgress, "a request with this key is being worked on"
		return r
	case mode.Error == Before:
		r.Decision, r.Reason = Failed, "internal error"
		return r
	}
	if mode.Dedup && r.Key != "" {
		if known, ok := b.known(r, mode, now); ok {
			return known
		}
	}
	mark, marked := b.voided[r.Key]
	switch {
	case r.Key != "" && marked && r.Attempt <= mark:
		r.Decision, r.Reason = Voided, fmt.Sprintf("this key is void through attempt %d", mark)
	case mode.Refuse != "":
		r.Decision, r.Reason = Refused, mode.Refuse
	default:
		r.Decision, r.Effect = Applied, fmt.Sprintf("eff_%d", len(b.effects)+1)
	}
	return r
}

// known completes r if its key was met before and is not forgotten.
func (b *book) known(r Record, mode Mode, now time.Time) (Record, bool) {
	fresh := func(at time.Time) bool { return mode.Forget == 0 || now.Sub(at) < mode.Forget }
	body := ""
	if e, ok := b.applied[r.Key]; ok && fresh(e.Arrived) {
		r.Decision, r.Effect, body = Dedup, e.ID, e.Body
	} else if old, ok := b.refused[r.Key]; ok && mode.Sticky && fresh(old.Arrived) {
		r.Decision, r.Reason, body = Dedup, old.Reason, old.Body
	} else {
		return r, false
	}
	if r.Body != body {
		r.Decision, r.Effect, r.Reason = Mismatch, "", "this key was used with another body"
	}
	return r, true
}
