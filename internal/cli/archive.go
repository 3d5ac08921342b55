package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/onceguard/onceguard"
)

// The archive of `store backup`: JSON Lines. First a head, then records with
// their evidence and the secrets, at last a foot with the counts and the
// SHA-256 of every byte before the foot's line, so that a file that was cut or
// changed is refused. It holds secrets: mode 0600.

// archiveFormat names the format and its version.
const archiveFormat = "onceguard-archive/1"

// archiveLine is one line: exactly one field is set.
type archiveLine struct {
	Head   *archiveHead   `json:"head,omitempty"`
	Record *archiveRecord `json:"record,omitempty"`
	Secret *archiveSecret `json:"secret,omitempty"`
	Foot   *archiveFoot   `json:"foot,omitempty"`
}

type archiveHead struct {
	Format    string    `json:"format"`
	Kind      string    `json:"kind"`
	StoreID   string    `json:"store_id"`
	Epoch     string    `json:"epoch"`
	Schema    int64     `json:"schema"`
	WrittenAt time.Time `json:"written_at"`
	Version   string    `json:"onceguard"`
}

type archiveFoot struct {
	Records  int    `json:"records"`
	Evidence int    `json:"evidence"`
	Secrets  int    `json:"secrets"`
	SHA256   string `json:"sha256"`
}

type archiveSecret struct {
	Name      string    `json:"name"`
	Value     []byte    `json:"value"`
	Wrapped   bool      `json:"wrapped"`
	CreatedAt time.Time `json:"created_at"`
}

// archiveRecord is a Record with names of its own: the format must not change
// with the Go struct.
type archiveRecord struct {
	ID                 onceguard.RequestID `json:"id"`
	Scope              string              `json:"scope"`
	Action             string              `json:"action"`
	Key                string              `json:"key"`
	FingerprintVersion uint8               `json:"fingerprint_version"`
	FingerprintKey     string              `json:"fingerprint_key"`
	FingerprintSum     []byte              `json:"fingerprint_sum"`
	Policy             uint8               `json:"policy"`
	Horizon            time.Duration       `json:"horizon_ns"`
	Refusals           uint8               `json:"refusals"`
	MaxAttempts        int                 `json:"max_attempts"`
	State              uint8               `json:"state"`
	Attempt            int64               `json:"attempt"`
	Owner              []byte              `json:"owner"`
	Process            string              `json:"process"`
	Generation         int                 `json:"generation"`
	UnknownAttempt     bool                `json:"unknown_attempt"`
	Waived             bool                `json:"waived"`
	RunAfterNeverWill  bool                `json:"run_after_never_will"`
	CreatedAt          time.Time           `json:"created_at"`
	KeyedAt            time.Time           `json:"keyed_at"`
	ClaimedAt          time.Time           `json:"claimed_at"`
	LeaseUntil         time.Time           `json:"lease_until"`
	Since              time.Time           `json:"since"`
	SettledBy          string              `json:"settled_by"`
	Reason             string              `json:"reason"`
	ResultType         string              `json:"result_type"`
	ResultBody         []byte              `json:"result_body"`
	ResultDigest       []byte              `json:"result_digest"`
	ResultGap          uint8               `json:"result_gap"`
	ResultRetention    time.Duration       `json:"result_retention_ns"`
	IdentityRetention  time.Duration       `json:"identity_retention_ns"`
	Input              []byte              `json:"input"`
	Pruned             bool                `json:"pruned"`
	Evidence           []archiveEvidence   `json:"evidence,omitempty"`
}

type archiveEvidence struct {
	Kind    string    `json:"kind"`
	Attempt int64     `json:"attempt"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Detail  string    `json:"detail"`
	Body    []byte    `json:"body"`
}

func archived(r onceguard.Record, evidence []onceguard.Evidence) *archiveRecord {
	a := &archiveRecord{
		ID: r.ID, Scope: r.Scope, Action: r.Action, Key: r.Key,
		FingerprintVersion: r.Fingerprint.Version, FingerprintKey: r.Fingerprint.KeyID, FingerprintSum: r.Fingerprint.Sum[:],
		Policy: uint8(r.Policy.Kind), Horizon: r.Policy.Horizon, Refusals: uint8(r.Policy.Refusals), MaxAttempts: r.Policy.MaxAttempts,
		State: uint8(r.State), Attempt: r.Attempt, Owner: r.Owner[:], Process: r.Process, Generation: r.Generation,
		UnknownAttempt: r.UnknownAttempt, Waived: r.Waived, RunAfterNeverWill: r.RunAfterNeverWill,
		CreatedAt: r.CreatedAt.UTC(), KeyedAt: r.KeyedAt.UTC(), ClaimedAt: r.ClaimedAt.UTC(), LeaseUntil: r.LeaseUntil.UTC(), Since: r.Since.UTC(),
		SettledBy: r.SettledBy, Reason: r.Reason,
		ResultType: r.Result.Type, ResultBody: r.Result.Body, ResultDigest: r.Result.Digest[:], ResultGap: uint8(r.Result.Missing),
		ResultRetention: r.ResultRetention, IdentityRetention: r.IdentityRetention, Input: r.Input, Pruned: r.Pruned,
	}
	for _, e := range evidence {
		a.Evidence = append(a.Evidence, archiveEvidence{string(e.Kind), e.Attempt, e.At.UTC(), e.By, e.Detail, e.Body})
	}
	return a
}

func (a *archiveRecord) record() (onceguard.Record, []onceguard.Evidence) {
	r := onceguard.Record{
		ID: a.ID, Scope: a.Scope, Action: a.Action, Key: a.Key,
		Fingerprint: onceguard.Fingerprint{Version: a.FingerprintVersion, KeyID: a.FingerprintKey},
		Policy:      onceguard.Policy{Kind: onceguard.PolicyKind(a.Policy), Horizon: a.Horizon, Refusals: onceguard.Refusals(a.Refusals), MaxAttempts: a.MaxAttempts},
		State:       onceguard.State(a.State), Attempt: a.Attempt, Process: a.Process, Generation: a.Generation,
		UnknownAttempt: a.UnknownAttempt, Waived: a.Waived, RunAfterNeverWill: a.RunAfterNeverWill,
		CreatedAt: a.CreatedAt, KeyedAt: a.KeyedAt, ClaimedAt: a.ClaimedAt, LeaseUntil: a.LeaseUntil, Since: a.Since,
		SettledBy: a.SettledBy, Reason: a.Reason,
		Result:          onceguard.Result{Type: a.ResultType, Body: a.ResultBody, Missing: onceguard.ResultGap(a.ResultGap)},
		ResultRetention: a.ResultRetention, IdentityRetention: a.IdentityRetention, Input: a.Input, Pruned: a.Pruned,
	}
	copy(r.Fingerprint.Sum[:], a.FingerprintSum)
	copy(r.Owner[:], a.Owner)
	copy(r.Result.Digest[:], a.ResultDigest)
	var evidence []onceguard.Evidence
	for _, e := range a.Evidence {
		evidence = append(evidence, onceguard.Evidence{ID: a.ID, Kind: onceguard.EvidenceKind(e.Kind), Attempt: e.Attempt, At: e.At, By: e.By, Detail: e.Detail, Body: e.Body})
	}
	return r, evidence
}

// parseArchiveLine is strict: a field that this version does not know may hold
// what it must not lose.
func parseArchiveLine(line []byte) (archiveLine, error) {
	var l archiveLine
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return l, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return l, errors.New("something follows the object")
	}
	return l, nil
}
