package mcpguard

import (
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
)

// entry writes the tool as the policy file does.
func (t Tool) entry() (entry, error) {
	e := entry{
		Name: t.Name, Pin: t.Pin, IsError: t.IsError, Repeat: t.Repeat, Result: t.Keep, CancelSafe: t.CancelSafe,
		Horizon: span(t.Policy.Horizon), MaxAttempts: t.Policy.MaxAttempts,
		Wait: span(t.Limits.Wait), MaxRun: span(t.Limits.MaxRun), Lease: span(t.Limits.Lease), AnswerWithin: span(t.AnswerWithin),
		ResultRetention: span(t.Limits.ResultRetention), IdentityRetention: span(t.Limits.IdentityRetention),
	}
	if t.Pass {
		e.Mode = "pass"
	}
	if t.Policy.Kind != onceguard.AtMostOnceKind {
		e.Policy = t.Policy.Kind.String()
	}
	switch t.Policy.Refusals {
	case onceguard.RefusalsUnset:
	case onceguard.RefusalsRemembered, onceguard.RefusalsForgotten:
		remembers := t.Policy.Refusals == onceguard.RefusalsRemembered
		e.RemembersRefusals = &remembers
	default:
		return e, fmt.Errorf("Policy.Refusals is %d", t.Policy.Refusals)
	}
	if t.Policy.Kind != onceguard.SafeRetryKind && (t.Policy.Horizon != 0 || t.Policy.Refusals != onceguard.RefusalsUnset) {
		return e, errors.New("Policy has a horizon or a refusal behaviour, which belong to safe-retry")
	}
	if t.Limits.MaxResult != 0 || t.Limits.RetryWindow != 0 {
		return e, errors.New("Limits.MaxResult and Limits.RetryWindow have no meaning here; Keep says what is stored")
	}
	for name, d := range map[string]time.Duration{"Limits.Wait": t.Limits.Wait, "Limits.MaxRun": t.Limits.MaxRun, "Limits.Lease": t.Limits.Lease, "AnswerWithin": t.AnswerWithin, "Policy.Horizon": t.Policy.Horizon} {
		if d < 0 {
			return e, fmt.Errorf("%s is %s; here it is a duration above zero, or 0 for the default", name, d)
		}
	}
	i := identity(t.Identity)
	if len(i.Key)+len(i.Ignore)+len(i.CallIDs)+len(i.TurnIDs)+len(i.ShowValues) > 0 || i.Template != "" || i.Meta != "" {
		e.Identity = &i
	}
	if t.Inject != (Inject{}) {
		in := inject(t.Inject)
		e.Inject = &in
	}
	return e, nil
}

// span writes a duration as the file does; the file's reader refuses what is
// below zero.
func span(d time.Duration) string {
	switch d {
	case 0:
		return ""
	case onceguard.Forever:
		return "forever"
	}
	return d.String()
}
