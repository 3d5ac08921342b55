package sqlitestore

import (
	"reflect"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// settleRow writes fewer columns than there are. Whatever the rule for an
// owner's word changes must be among them.
func TestSettleRowWritesAllThatTheRuleChanges(t *testing.T) {
	written := map[string]bool{"State": true, "UnknownAttempt": true, "LeaseUntil": true, "Since": true, "SettledBy": true, "Reason": true, "Result": true}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	token := onceguard.Token{1}
	policies := []onceguard.Policy{onceguard.AtMostOnce, onceguard.Rerun, onceguard.Transactional, onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered), onceguard.SafeRetry(time.Hour, onceguard.RefusalsForgotten)}
	changes := 0
	for _, policy := range policies {
		for _, state := range []onceguard.State{onceguard.Claimed, onceguard.Uncertain} {
			for verb := onceguard.SettleSucceeded; verb <= onceguard.SettleReleased; verb++ {
				for flags := range 8 {
					before := onceguard.Record{
						ID: onceguard.RequestID{1}, Policy: policy, State: state, Attempt: 3, Owner: token.Hash(), Process: "p", Generation: 1,
						UnknownAttempt: flags&1 != 0, Waived: flags&2 != 0, RunAfterNeverWill: flags&4 != 0, SettledBy: "operator:ada",
						CreatedAt: now.Add(-time.Minute), KeyedAt: now.Add(-time.Minute), ClaimedAt: now.Add(-time.Second), Input: []byte("in"),
					}
					step := before.Settle(onceguard.Settlement{ID: before.ID, Attempt: 3, Owner: token, Verb: verb, Reason: "r", Result: onceguard.NewResult("t", []byte("b"))}, now)
					if !step.Write {
						continue
					}
					changes++
					b, a := reflect.ValueOf(before), reflect.ValueOf(step.Record)
					for i := range b.NumField() {
						name := b.Type().Field(i).Name
						if !written[name] && !reflect.DeepEqual(b.Field(i).Interface(), a.Field(i).Interface()) {
							t.Errorf("%s of a %s record under %s changes %s, which settleRow does not write", step.Transition, state, policy.Kind, name)
						}
					}
				}
			}
		}
	}
	if changes < 100 {
		t.Errorf("only %d changes were compared", changes)
	}
}

func TestFileSystems(t *testing.T) {
	for magic, want := range map[int64]struct {
		refused bool
		warns   bool
	}{
		0x6969: {refused: true}, 0xff534d42: {refused: true}, 0xfe534d42: {refused: true}, 0x517b: {refused: true},
		0x794c7630: {warns: true}, 0x65735546: {warns: true}, 0x01021994: {warns: true},
		0xef53: {}, 0x58465342: {}, 0x9123683e: {}, // ext4, XFS, Btrfs
	} {
		warnings, err := fsKinds[magic].judge("/x.db")
		if (err != nil) != want.refused || (len(warnings) > 0) != want.warns {
			t.Errorf("%#x: %v, %v", magic, warnings, err)
		}
	}
}
