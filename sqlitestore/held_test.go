package sqlitestore

import (
	"reflect"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// A remembered record is compared with the file in a few columns. While state,
// attempt and owner stay the same, no rule may change another.
func TestHeldComparesAllThatCanChange(t *testing.T) {
	compared := map[string]bool{"UnknownAttempt": true, "SettledBy": true, "Reason": true}
	unused := map[string]bool{"LeaseUntil": true} // renewing compares it, and settling ends it
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	token := onceguard.Token{1}
	fingerprints := []onceguard.Fingerprint{{Version: 1, KeyID: "k"}}
	steps := 0
	for _, policy := range []onceguard.Policy{onceguard.AtMostOnce, onceguard.Rerun, onceguard.Transactional, onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered), onceguard.SafeRetry(time.Hour, onceguard.RefusalsForgotten)} {
		for flags := range 16 {
			before := onceguard.Record{
				ID: onceguard.RequestID{1}, Fingerprint: fingerprints[0], Policy: policy, State: onceguard.Claimed, Attempt: 3, Owner: token.Hash(), Process: "p",
				Generation: 1, UnknownAttempt: flags&1 != 0, Waived: flags&2 != 0, RunAfterNeverWill: flags&4 != 0,
				CreatedAt: now.Add(-time.Minute), KeyedAt: now.Add(-time.Minute), ClaimedAt: now.Add(-time.Second), LeaseUntil: now.Add(time.Minute),
			}
			if flags&8 != 0 {
				before.LeaseUntil = now.Add(-time.Second)
			}
			var all []onceguard.Step
			for _, owner := range []onceguard.Token{token, {2}} {
				all = append(all,
					before.Claim(onceguard.Claim{ID: before.ID, Owner: owner, Fingerprints: fingerprints, Policy: policy, Lease: time.Hour}, now),
					before.Renew(onceguard.Renewal{ID: before.ID, Attempt: 3, Owner: owner, Lease: time.Hour}, now),
					before.Checkpoint(onceguard.Checkpoint{ID: before.ID, Attempt: 3, Owner: owner, Body: []byte("x")}))
				for verb := onceguard.SettleSucceeded; verb <= onceguard.SettleReleased; verb++ {
					all = append(all, before.Settle(onceguard.Settlement{ID: before.ID, Attempt: 3, Owner: owner, Verb: verb, Reason: "r"}, now))
				}
			}
			all = append(all, before.Sweep(now), before.Prune(now))
			for _, step := range all {
				after := step.Record
				if !step.Write || after.State != before.State || after.Attempt != before.Attempt || after.Owner != before.Owner {
					continue
				}
				steps++
				b, a := reflect.ValueOf(before), reflect.ValueOf(after)
				for i := range b.NumField() {
					name := b.Type().Field(i).Name
					if !compared[name] && !unused[name] && !reflect.DeepEqual(b.Field(i).Interface(), a.Field(i).Interface()) {
						t.Errorf("%s under %s changes %s, which no statement compares", step.Transition, policy.Kind, name)
					}
				}
			}
		}
	}
	if steps < 100 {
		t.Errorf("only %d steps were compared", steps)
	}
}

// Memory is bounded, whatever is claimed and never settled.
func TestHeldIsBounded(t *testing.T) {
	h := held{}
	for i := range maxHeld + 100 {
		s := &slot{answer: onceguard.Answer{Outcome: onceguard.Granted, Record: onceguard.Record{State: onceguard.Claimed}}}
		s.answer.Record.ID[0], s.answer.Record.ID[1] = byte(i), byte(i>>8)
		h.learn(s)
	}
	if len(h) != maxHeld {
		t.Errorf("%d records are remembered, want %d", len(h), maxHeld)
	}
	s := &slot{answer: onceguard.Answer{Outcome: onceguard.Settled, Record: onceguard.Record{State: onceguard.Succeeded}}}
	for id := range h {
		s.answer.Record.ID = id
		h.learn(s)
		break
	}
	if len(h) != maxHeld-1 {
		t.Errorf("a settled claim is still remembered")
	}
}

func TestLookFirst(t *testing.T) {
	var l look
	if l.first() {
		t.Error("the first claim reads in vain")
	}
	_ = l.while(func() error {
		if !l.first() {
			t.Error("a claim does not read although the lock is taken")
		}
		return nil
	})
	if l.first() {
		t.Error("a claim reads although the lock is free again")
	}
	l.hit()
	for range afterHit {
		if !l.first() {
			t.Fatal("a claim after one that met a known request does not read")
		}
	}
	if l.first() {
		t.Error("claims read for ever after one hit")
	}
}
