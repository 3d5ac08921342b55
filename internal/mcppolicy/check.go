package mcppolicy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// policy checks a file and makes what the gate reads.
func (f file) policy(lines []int) (*Policy, error) {
	if f.Version != 1 {
		return nil, fmt.Errorf("version is %d; this release reads `version: 1`", f.Version)
	}
	if err := checkServer(f.Server); err != nil {
		return nil, err
	}
	if f.Defaults.Name != "" || f.Defaults.Pin != "" || f.Defaults.Mode != "" {
		return nil, errors.New("defaults: name, mode and pin belong to one tool; put them in tools")
	}
	p := &Policy{Server: f.Server, File: true}
	var err error
	if p.fallback, err = f.Defaults.tool(); err != nil {
		return nil, fmt.Errorf("defaults: %w", err)
	}
	p.fallback.Guard = true // a tool that nobody named never passes
	seen := map[string]bool{}
	for i, e := range f.Tools {
		where := fmt.Sprintf("tools[%d] %.60q", i, e.Name)
		if i < len(lines) {
			where = fmt.Sprintf("line %d: %s", lines[i], where)
		}
		t, err := e.over(f.Defaults).tool()
		switch {
		case e.Name == "":
			err = errors.New("name is missing: a tool's name, or a pattern such as read_*")
		case seen[e.Name]:
			err = errors.New("a second entry has this name; it would never be reached")
		case e.Pin != "" && strings.Contains(e.Name, "*"):
			err = errors.New("pin belongs to one tool, and this name is a pattern")
		case e.Mode == modePass && !e.bare():
			err = errors.New("mode is pass, so nothing of the guard can be set: leave name, mode and pin")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		seen[e.Name] = true
		t.Named = true
		p.rules = append(p.rules, rule{e.Name, t})
	}
	return p, nil
}

const (
	modeGuard = "guard"
	modePass  = "pass"
)

// bare says whether nothing but name, mode and pin is set.
func (e entry) bare() bool {
	i := e.Identity
	own := e.Policy != "" || e.Horizon != 0 || e.RemembersRefusals != nil || e.MaxAttempts != 0 || e.IsError != "" || e.Repeat != "" ||
		e.Inject != inject{} || e.CancelSafe != nil || e.Result != "" || e.Wait != 0 || e.AnswerWithin != 0 || e.MaxRun != 0 || e.Lease != 0 ||
		e.ResultRetention != 0 || e.IdentityRetention != 0
	return !own && len(i.Key)+len(i.Ignore)+len(i.CallIDs)+len(i.TurnIDs)+len(i.ShowValues) == 0 && i.Template == "" && i.Meta == ""
}

// Default is the policy without a file: tools that say they only read pass,
// unless strict; every other tool is guarded.
func Default(server string, strict bool) (*Policy, error) {
	if err := checkServer(server); err != nil {
		return nil, err
	}
	t, err := entry{}.tool()
	if err != nil {
		return nil, err
	}
	return &Policy{Server: server, Strict: strict, fallback: t}, nil
}

// checkServer holds names to what fits into an action, whole and with a slash
// after it.
func checkServer(s string) error {
	ok := s != "" && len(s) <= maxServer
	for i := range len(s) {
		c := s[i]
		ok = ok && ('a' <= c && c <= 'z' || '0' <= c && c <= '9' || i > 0 && (c == '-' || c == '_' || c == '.'))
	}
	if !ok {
		return fmt.Errorf("server is %.60q; give the server a name of up to %d letters a-z, digits, '-', '_' or '.'; it is part of every receipt's identity and never changes", s, maxServer)
	}
	return nil
}

const maxServer = 40

// tool checks an entry and makes what the gate reads.
func (e entry) tool() (t Tool, err error) {
	switch e.Mode {
	case "", modeGuard:
		t.Guard = true
	case modePass:
	default:
		return t, fmt.Errorf("mode is %.40q; write guard or pass", e.Mode)
	}
	if e.Pin != "" && !isPin(e.Pin) {
		return t, fmt.Errorf("pin is %.80q; write sha256: and 64 hexadecimal digits, as `onceguard mcp init` does", e.Pin)
	}
	t.Pin = e.Pin
	for _, s := range []struct {
		name string
		span span
	}{{"wait", e.Wait}, {"answer_within", e.AnswerWithin}, {"max_run", e.MaxRun}, {"lease", e.Lease}, {"horizon", e.Horizon}} {
		if time.Duration(s.span) == onceguard.Forever {
			return t, fmt.Errorf("%s cannot be forever", s.name)
		}
	}
	t.Limits = onceguard.Limits{
		Wait: time.Duration(e.Wait), MaxRun: time.Duration(e.MaxRun), Lease: time.Duration(e.Lease),
		ResultRetention: time.Duration(e.ResultRetention), IdentityRetention: time.Duration(e.IdentityRetention),
	}
	t.AnswerWithin = time.Duration(e.AnswerWithin)
	if t.Inject, err = e.Inject.check(); err != nil {
		return t, err
	}
	if t.Policy, err = e.declared(t.Inject); err != nil {
		return t, err
	}
	if t.Identity, err = e.Identity.check(); err != nil {
		return t, fmt.Errorf("identity: %w", err)
	}
	t.IsError = cmp.Or(IsError(e.IsError), IsErrorUnknown)
	if all := []IsError{IsErrorUnknown, IsErrorRefused, IsErrorNotExecuted, IsErrorSuccess}; !slices.Contains(all, t.IsError) {
		return t, fmt.Errorf("is_error is %.40q; write unknown, refused, not-executed or success", e.IsError)
	}
	t.Repeat = cmp.Or(Repeat(e.Repeat), RepeatAsk)
	if all := []Repeat{RepeatAsk, RepeatNew, RepeatReplay, RepeatMoney}; !slices.Contains(all, t.Repeat) {
		return t, fmt.Errorf("repeat is %.40q; write ask, new, replay or money", e.Repeat)
	}
	t.Result = cmp.Or(ResultMode(e.Result), ResultKeep)
	if all := []ResultMode{ResultKeep, ResultDigest, ResultSensitive}; !slices.Contains(all, t.Result) {
		return t, fmt.Errorf("result is %.40q; write keep, digest or sensitive", e.Result)
	}
	t.CancelSafe = e.CancelSafe != nil && *e.CancelSafe
	return t, nil
}

func isPin(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	for i := range len(hex) {
		c := hex[i]
		ok = ok && ('0' <= c && c <= '9' || 'a' <= c && c <= 'f')
	}
	return ok && len(hex) == 64
}

// declared is the guard's policy.
func (e entry) declared(in Inject) (onceguard.Policy, error) {
	kind, err := onceguard.ParsePolicyKind(cmp.Or(e.Policy, onceguard.AtMostOnceKind.String()))
	if err != nil || kind == onceguard.TransactionalKind {
		return onceguard.Policy{}, fmt.Errorf("policy is %.40q; write at-most-once, safe-retry or rerun", e.Policy)
	}
	p := onceguard.Policy{Kind: kind, Horizon: time.Duration(e.Horizon), MaxAttempts: e.MaxAttempts}
	if e.RemembersRefusals != nil {
		p.Refusals = onceguard.RefusalsForgotten
		if *e.RemembersRefusals {
			p.Refusals = onceguard.RefusalsRemembered
		}
	}
	if kind == onceguard.SafeRetryKind {
		switch {
		case e.Horizon == 0:
			return p, errors.New("policy safe-retry needs horizon: how long the service behind the tool honours an idempotency key (its documentation says)")
		case e.RemembersRefusals == nil:
			return p, errors.New("policy safe-retry needs remembers_refusals: whether the service answers a refused key with the same refusal (its documentation says)")
		case !in.Set():
			return p, errors.New("policy safe-retry needs inject: without a key the service cannot tell a repeat")
		}
	}
	return p, p.Validate()
}
