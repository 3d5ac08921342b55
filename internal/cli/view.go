package cli

import (
	"encoding/hex"
	"time"

	"github.com/onceguard/onceguard"
)

// receiptView is the JSON of one receipt in list, show and export. Names are
// stable; new ones may be added.
type receiptView struct {
	RequestID  string     `json:"request_id"`
	Scope      string     `json:"scope"`
	Action     string     `json:"action"`
	Key        string     `json:"key"`         // for people
	KeyEncoded string     `json:"key_encoded"` // byte-exact
	KeyParts   []partView `json:"key_parts"`

	State      string      `json:"state"`
	Since      *time.Time  `json:"since"` // when it entered its state
	Attempt    int64       `json:"attempt"`
	Generation int         `json:"generation"`
	Policy     policyView  `json:"policy"`
	CreatedAt  *time.Time  `json:"created_at"`
	ClaimedAt  *time.Time  `json:"claimed_at"`
	LeaseUntil *time.Time  `json:"lease_until"` // null unless claimed
	SettledBy  string      `json:"settled_by"`
	Reason     string      `json:"reason"`
	MayHaveRun bool        `json:"may_have_run"`
	Unknown    bool        `json:"unknown_attempt"` // an earlier attempt may have happened
	Waived     bool        `json:"waived"`
	Pruned     bool        `json:"pruned"`
	Result     *resultView `json:"result"` // null unless settled

	Fingerprint              string  `json:"fingerprint"`
	ResultRetentionSeconds   float64 `json:"result_retention_seconds"`   // -1: forever
	IdentityRetentionSeconds float64 `json:"identity_retention_seconds"` // -1: forever
}

type partView struct {
	Name  string `json:"name"` // empty: a raw key
	Value string `json:"value"`
}

type policyView struct {
	Kind              string  `json:"kind"`
	HorizonSeconds    float64 `json:"horizon_seconds,omitempty"`
	RemembersRefusals *bool   `json:"remembers_refusals,omitempty"`
	MaxAttempts       int     `json:"max_attempts,omitempty"`
}

type resultView struct {
	Type    string  `json:"type"`
	SHA256  string  `json:"sha256"`
	Missing string  `json:"missing"`        // why there is no body; empty: there is one
	Body    *[]byte `json:"body,omitempty"` // base64, as stored; only where asked for
	Bytes   *int    `json:"bytes,omitempty"`
}

// setBody shows an empty body as empty, not as absent.
func (v *resultView) setBody(body []byte) {
	if body == nil {
		body = []byte{}
	}
	n := len(body)
	v.Body, v.Bytes = &body, &n
}

// viewOf is the JSON of a record; with bodies, as they are stored.
func viewOf(r onceguard.Record, bodies bool) receiptView {
	v := receiptView{
		RequestID: r.ID.String(), Scope: r.Scope, Action: r.Action, Key: readableKey(r.Key), KeyEncoded: r.Key, KeyParts: []partView{},
		State: r.State.String(), Since: jsonTime(r.Since), Attempt: r.Attempt, Generation: r.Generation, Policy: policyOf(r.Policy),
		CreatedAt: jsonTime(r.CreatedAt), ClaimedAt: jsonTime(r.ClaimedAt), LeaseUntil: jsonTime(r.LeaseUntil),
		SettledBy: r.SettledBy, Reason: r.Reason, MayHaveRun: r.State.MayHaveRun() || r.UnknownAttempt,
		Unknown: r.UnknownAttempt, Waived: r.Waived, Pruned: r.Pruned,
		Fingerprint: fingerprintText(r.Fingerprint), ResultRetentionSeconds: seconds(r.ResultRetention), IdentityRetentionSeconds: seconds(r.IdentityRetention),
	}
	if key, err := onceguard.ParseKey(r.Key); err == nil {
		for _, p := range key.Parts() {
			v.KeyParts = append(v.KeyParts, partView{p.Name, p.Value})
		}
	}
	if r.State.Final() {
		v.Result = &resultView{Type: r.Result.Type, SHA256: hex.EncodeToString(r.Result.Digest[:]), Missing: r.Result.Missing.String()}
		if bodies && r.Result.Missing == onceguard.HasBody {
			v.Result.setBody(r.Result.Body)
		}
	}
	return v
}

func policyOf(p onceguard.Policy) policyView {
	v := policyView{Kind: p.Kind.String(), HorizonSeconds: p.Horizon.Seconds(), MaxAttempts: p.MaxAttempts}
	if p.Refusals != onceguard.RefusalsUnset {
		yes := p.Refusals == onceguard.RefusalsRemembered
		v.RemembersRefusals = &yes
	}
	return v
}

func seconds(d time.Duration) float64 {
	if d == onceguard.Forever {
		return -1
	}
	return d.Seconds()
}

func readableKey(encoded string) string {
	key, err := onceguard.ParseKey(encoded)
	if err != nil {
		return plain(encoded)
	}
	return key.String()
}

// evidenceView is the JSON of one piece of evidence.
type evidenceView struct {
	Kind    string     `json:"kind"`
	Attempt int64      `json:"attempt"`
	At      *time.Time `json:"at"`
	By      string     `json:"by"`
	Detail  string     `json:"detail"`
	Body    []byte     `json:"body,omitempty"` // base64
}

func evidenceOf(list []onceguard.Evidence) []evidenceView {
	out := []evidenceView{}
	for _, e := range list {
		out = append(out, evidenceView{string(e.Kind), e.Attempt, jsonTime(e.At), e.By, e.Detail, e.Body})
	}
	return out
}

// stateColour is the colour of a state on a terminal.
func stateColour(s onceguard.State) string {
	switch s {
	case onceguard.Succeeded:
		return green
	case onceguard.Uncertain:
		return red
	case onceguard.Claimed:
		return yellow
	}
	return dim
}

// fingerprintText is empty for work that was imported without its input.
func fingerprintText(f onceguard.Fingerprint) string {
	if f.Version == 0 {
		return ""
	}
	return f.String()
}
