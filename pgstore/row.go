package pgstore

import (
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

const columnCount = 34

func placeholders(n int) string {
	p := make([]string, n)
	for i := range p {
		p[i] = "$" + strconv.Itoa(i+1)
	}
	return strings.Join(p, ", ")
}

// values are r's columns in order.
func values(r onceguard.Record) []any {
	return []any{
		r.ID[:], r.Scope, r.Action, r.Key, int16(r.Fingerprint.Version), r.Fingerprint.KeyID, r.Fingerprint.Sum[:],
		int16(r.Policy.Kind), int64(r.Policy.Horizon), int16(r.Policy.Refusals), int32(r.Policy.MaxAttempts),
		int16(r.State), r.Attempt, hash(r.Owner), text(r.Process), int32(r.Generation),
		r.UnknownAttempt, r.Waived, r.RunAfterNeverWill,
		stamp(r.CreatedAt), stamp(r.KeyedAt), stamp(r.ClaimedAt), stamp(r.LeaseUntil), stamp(r.Since),
		text(r.SettledBy), text(r.Reason), r.Result.Body, text(r.Result.Type), hash(r.Result.Digest), int16(r.Result.Missing),
		int64(r.ResultRetention), int64(r.IdentityRetention), r.Input, r.Pruned,
	}
}

// scan reads one row of columns and then into more.
func scan(row pgx.Row, more ...any) (onceguard.Record, error) {
	var (
		r                                       onceguard.Record
		id, print, owner, digest                []byte
		version, policy, refusals, state, gap   int16
		attempts, generation                    int32
		horizon, keepResult, keepIdentity       int64
		created, keyed, claimed, lease, entered *time.Time
	)
	into := append([]any{
		&id, &r.Scope, &r.Action, &r.Key, &version, &r.Fingerprint.KeyID, &print,
		&policy, &horizon, &refusals, &attempts, &state, &r.Attempt, &owner, &r.Process, &generation,
		&r.UnknownAttempt, &r.Waived, &r.RunAfterNeverWill, &created, &keyed, &claimed, &lease, &entered,
		&r.SettledBy, &r.Reason, &r.Result.Body, &r.Result.Type, &digest, &gap,
		&keepResult, &keepIdentity, &r.Input, &r.Pruned,
	}, more...)
	if err := row.Scan(into...); err != nil {
		return onceguard.Record{}, err
	}
	copy(r.ID[:], id)
	copy(r.Fingerprint.Sum[:], print)
	copy(r.Owner[:], owner)
	copy(r.Result.Digest[:], digest)
	r.Fingerprint.Version = uint8(version)
	r.Policy = onceguard.Policy{
		Kind: onceguard.PolicyKind(policy), Horizon: time.Duration(horizon),
		Refusals: onceguard.Refusals(refusals), MaxAttempts: int(attempts),
	}
	r.State, r.Generation, r.Result.Missing = onceguard.State(state), int(generation), onceguard.ResultGap(gap)
	r.CreatedAt, r.KeyedAt, r.ClaimedAt, r.LeaseUntil, r.Since = unstamp(created), unstamp(keyed), unstamp(claimed), unstamp(lease), unstamp(entered)
	r.ResultRetention, r.IdentityRetention = time.Duration(keepResult), time.Duration(keepIdentity)
	return r, known(r)
}

// text makes s storable: the server takes neither NUL nor invalid UTF-8, and a
// reason must never keep an outcome from being stored. Identity (scope, action,
// key) does not pass here: it is stored as it is, or refused.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// stamp is a time in the server's resolution; the zero time is NULL.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Microsecond)
	return &t
}

func unstamp(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// hash is the column of a 32-byte digest; NULL where it was never set.
func hash[H ~[32]byte](h H) []byte {
	if h == (H{}) {
		return nil
	}
	return h[:]
}

// stored is r as a later read gives it.
func stored(r onceguard.Record) onceguard.Record {
	for _, t := range []*time.Time{&r.CreatedAt, &r.KeyedAt, &r.ClaimedAt, &r.LeaseUntil, &r.Since} {
		*t = unstamp(stamp(*t))
	}
	for _, s := range []*string{&r.Process, &r.SettledBy, &r.Reason, &r.Result.Type} {
		*s = text(*s)
	}
	return r
}

// micro is d in the unit of the SQL; never zero for a positive duration.
func micro(d time.Duration) int64 { return d.Microseconds() }
