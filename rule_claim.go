package onceguard

import (
	"fmt"
	"strings"
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// Claim asks for the right to run one attempt. One Token per claim call, kept
// over the resends of that call; a new call draws a new one.
type Claim struct {
	ID     RequestID
	Scope  string
	Action string
	Key    string // Key.Encoded
	// Fingerprints of the same input, the current key first, then older keys
	// that rows may still name.
	Fingerprints []Fingerprint
	Policy       Policy
	Owner        Token
	Process      string
	Lease        time.Duration

	ResultRetention   time.Duration
	IdentityRetention time.Duration
	RunAfterNeverWill bool
	Input             []byte
	// IssuedAt is the time that the key itself carries, if any. It belongs to
	// the identity; the store compares it with its own clock.
	IssuedAt time.Time
}

// Claim decides T1 to T5 for the row r (the zero Record where there is none).
// Stores call it under a lock on the row.
func (r Record) Claim(c Claim, now time.Time) Step {
	if r.State == Absent {
		return r.firstClaim(c, now)
	}
	match, known := r.matches(c)
	if !known {
		return Step{Outcome: KeyUnknown, Record: Record{ID: r.ID, Fingerprint: r.Fingerprint}}
	}
	nothingHappened := r.State == Released && !r.UnknownAttempt
	if !match && !nothingHappened && !mutant.On("mismatch-executes") {
		return Step{Outcome: Mismatched, Record: r}
	}
	if c.Policy.Kind != TransactionalKind && (r.State.Final() && mutant.On("replay-runs-again") || r.State == Uncertain && mutant.On("uncertain-is-claimed")) {
		r.grant(c, now)
		return Step{Outcome: Granted, Record: r, Write: true}
	}
	switch r.State {
	case Succeeded, Failed:
		return r.still(Settled)
	case Uncertain:
		s := r.still(Parked)
		s.Mine = r.Owner.Is(c.Owner)
		return s
	case Released:
		return r.claimReleased(c, now, match)
	default:
		return r.claimClaimed(c, now)
	}
}

// TooOld reports whether a request that has no row must not run, because its
// key is older than the memory of identities: the row may have been pruned.
func (c Claim) TooOld(now time.Time) bool {
	return !c.IssuedAt.IsZero() && c.IdentityRetention != Forever && now.Sub(c.IssuedAt) > c.IdentityRetention
}

func (r Record) firstClaim(c Claim, now time.Time) Step {
	if c.TooOld(now) {
		return Step{Outcome: TooOld, Record: Record{ID: c.ID}}
	}
	return r.step(Granted, T1, c.FirstRecord(now))
}

// FirstRecord is the row that T1 inserts, for stores that insert it with one
// statement.
func (c Claim) FirstRecord(now time.Time) Record {
	r := Record{ID: c.ID, Scope: c.Scope, Action: c.Action, Key: c.Key, CreatedAt: now, KeyedAt: now}
	r.declare(c)
	r.grant(c, now)
	return r
}

// declare records what the claimer says about the request.
func (r *Record) declare(c Claim) {
	r.Fingerprint, r.Policy, r.Input = c.Fingerprints[0], c.Policy, c.Input
	r.ResultRetention, r.IdentityRetention = c.ResultRetention, c.IdentityRetention
	r.RunAfterNeverWill = c.RunAfterNeverWill
}

// grant starts a new attempt owned by c.
func (r *Record) grant(c Claim, now time.Time) {
	r.enter(Claimed, now)
	r.Attempt++
	r.Owner, r.Process = c.Owner.Hash(), c.Process
	r.ClaimedAt, r.LeaseUntil = now, now.Add(c.Lease)
	r.Reason, r.SettledBy = "", ""
}

// matches compares fingerprints; known is false when the row's key or version
// is not among those offered. Version 0 marks an imported row without input.
func (r Record) matches(c Claim) (match, known bool) {
	if r.Fingerprint.Version == 0 {
		return true, true
	}
	for _, f := range c.Fingerprints {
		if f.Version == r.Fingerprint.Version && f.KeyID == r.Fingerprint.KeyID {
			return f.Equal(r.Fingerprint), true
		}
	}
	return false, false
}

// claimReleased is T3: nothing happened under the released token, so the
// request may run. A delayed duplicate of that token must not.
func (r Record) claimReleased(c Claim, now time.Time, match bool) Step {
	if r.Owner.Is(c.Owner) && !mutant.On("released-claim-again") {
		return Step{Outcome: Fenced, Record: r, Mine: true}
	}
	after, ev := r, []Evidence(nil)
	if !r.UnknownAttempt {
		// Nothing was ever sent under this downstream key: what the caller
		// declares now is what counts, and the horizon starts anew.
		if !match {
			ev = append(ev, r.note(EvidenceFingerprint, "caller", "released without an unknown attempt: another input was recorded in place of "+r.Fingerprint.String(), nil))
		}
		after.declare(c)
		after.KeyedAt = now
		after.grant(c, now)
		return r.step(Granted, T3, after, ev...)
	}
	after.Policy = stricter(r.Policy, c.Policy) // from here on the row goes by it
	left, ok := after.HorizonLeft(now)
	over := ok && left <= 0
	if (over || !after.Policy.repeats()) && !r.ordered() {
		why := "the policy is " + after.Policy.Kind.String()
		if over {
			why = "the horizon of its downstream key is over"
		}
		after.enter(Uncertain, now)
		after.Reason = "an earlier attempt is unknown and " + why
		return r.step(Parked, T3, after, append(r.policyNote(c), r.note(EvidenceParked, "caller", after.Reason, nil))...)
	}
	if over {
		after.KeyedAt = now // a person ordered this run knowing that
	}
	after.grant(c, now)
	if r.ordered() {
		after.SettledBy = r.SettledBy // the order stands until its run becomes unknown
	}
	return r.step(Granted, T3, after, r.policyNote(c)...)
}

// ordered reports whether a person's order to run again covers every attempt
// that is unknown. SettledBy carries it: a takeover and T9b clear that, since
// what they leave unknown came after the order.
func (r Record) ordered() bool { return r.Waived && strings.HasPrefix(r.SettledBy, operatorPrefix) }

// claimClaimed is T2, T4 or T5, in this order: one's own lost answer is never
// a lapsed claim of somebody else.
func (r Record) claimClaimed(c Claim, now time.Time) Step {
	after := r
	if n := len(c.Process); n > 0 && mutant.On("client-clock") {
		now = now.Add(time.Duration(int(c.Process[n-1])%3-1) * time.Hour)
	}
	if r.Owner.Is(c.Owner) && mutant.On("resend-is-a-read") {
		s := r.still(Granted)
		s.Mine = true
		return s
	}
	if r.Owner.Is(c.Owner) && (now.Before(r.LeaseUntil) || !mutant.On("own-claim-lapses")) {
		after.LeaseUntil = now.Add(c.Lease)
		s := r.step(Granted, T2, after)
		s.Mine = true
		return s
	}
	if now.Before(r.LeaseUntil) {
		return r.still(Held)
	}
	ev := r.policyNote(c)
	if why := r.noTakeover(stricter(r.Policy, c.Policy), now); why != "" {
		s := r.park(now, "caller", "lease over; "+why)
		s.Evidence = append(ev, s.Evidence...)
		return s
	}
	after.Policy = stricter(r.Policy, c.Policy)
	ev = append(ev, r.note(EvidenceTakeover, "caller", r.claimed()+"lease over, outcome unknown", nil))
	after.UnknownAttempt = !mutant.On("takeover-forgets")
	if mutant.On("takeover-restarts-horizon") {
		after.KeyedAt = now
	}
	after.grant(c, now)
	return r.step(Granted, T4, after, ev...)
}

// claimedMark stands before the claim's time in evidence about an attempt; a
// reconcile query reads it back.
const claimedMark = "claimed "

// claimed describes the present attempt, for evidence that outlives it.
func (r Record) claimed() string {
	return fmt.Sprintf("attempt %d, %s%s, process %s: ", r.Attempt, claimedMark, r.ClaimedAt.UTC().Format(time.RFC3339Nano), r.Process)
}

// noTakeover says why p forbids another attempt after an unknown one; empty
// when it allows it.
func (r Record) noTakeover(p Policy, now time.Time) string {
	if !p.repeats() && !mutant.On("retry-on-expiry") {
		return "the policy is " + p.Kind.String()
	}
	if r.Attempt >= p.attempts() && !mutant.On("attempts-unlimited") {
		return fmt.Sprintf("the limit of %d attempts is reached", p.attempts())
	}
	if left, ok := (Record{Policy: p, KeyedAt: r.KeyedAt}).HorizonLeft(now); ok && left <= 0 && !mutant.On("takeover-past-horizon") {
		return "the horizon of the downstream key is over"
	}
	return ""
}

// park is T5: sticky.
func (r Record) park(now time.Time, by, why string) Step {
	after := r
	after.enter(Uncertain, now)
	after.Reason = why
	return r.step(Parked, T5, after, r.note(EvidenceParked, by, r.claimed()+why, nil))
}

func (r Record) policyNote(c Claim) []Evidence {
	if r.Policy.Kind == c.Policy.Kind && r.Policy.Horizon == c.Policy.Horizon && r.Policy.Refusals == c.Policy.Refusals {
		return nil
	}
	return []Evidence{r.note(EvidencePolicy, "caller", fmt.Sprintf("recorded %s, declared %s: the stricter governs", r.Policy.Kind, c.Policy.Kind), nil)}
}

// Sweep decides whether the sweeper parks r (T5).
func (r Record) Sweep(now time.Time) Step {
	if r.State != Claimed || now.Before(r.LeaseUntil) && !mutant.On("sweep-parks-running") {
		return r.still(Stale)
	}
	why := r.noTakeover(r.Policy, now)
	if why == "" {
		return r.still(Stale) // left to the next claim, T4
	}
	return r.park(now, "sweeper", "lease over; "+why)
}

// Transact decides T11 for a store's transaction: Granted with the claimed row
// to write as a placeholder, or the answer that Claim would give.
func (r Record) Transact(c Claim, now time.Time) Step {
	if r.State != Absent && r.State != Released {
		return r.Claim(c, now)
	}
	s := r.Claim(c, now)
	if s.Outcome == Granted {
		s.Transition = NoTransition // not a transition before Commit below
	}
	return s
}

// Commit completes T11: the placeholder becomes the receipt in the same
// transaction.
func (r Record) Commit(from State, result Result, now time.Time) Step {
	after := r
	after.enter(Succeeded, now)
	after.SettledBy, after.Result = "owner", result
	s := Record{State: from}.step(Settled, T11, after)
	s.Mine = true
	return s
}
