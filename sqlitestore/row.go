package sqlitestore

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
)

// micros is how the store keeps a time.
func micros(t time.Time) int64 { return t.UnixMicro() }

func timeOf(us int64) time.Time { return time.UnixMicro(us).UTC() }

// maybe keeps the zero time as NULL.
func maybe(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micros(t)
}

func orZero(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return timeOf(us.Int64)
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// blob keeps empty bytes as NULL, which is also how they are read.
func blob(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// values lists what insertRow writes, in the order of the columns.
func values(r onceguard.Record) []any {
	return []any{
		r.ID[:], r.Scope, r.Action, r.Key,
		int64(r.Fingerprint.Version), r.Fingerprint.KeyID, r.Fingerprint.Sum[:],
		int64(r.Policy.Kind), int64(r.Policy.Horizon), int64(r.Policy.Refusals), int64(r.Policy.MaxAttempts),
		int64(r.State), r.Attempt, r.Owner[:], r.Process, int64(r.Generation),
		flag(r.UnknownAttempt), flag(r.Waived), flag(r.RunAfterNeverWill),
		micros(r.CreatedAt), maybe(r.KeyedAt), maybe(r.ClaimedAt), maybe(r.LeaseUntil), micros(r.Since),
		r.SettledBy, r.Reason, r.Result.Type, r.Result.Digest[:], int64(r.Result.Missing),
		int64(r.ResultRetention), int64(r.IdentityRetention), flag(r.Pruned),
		blob(r.Input), blob(r.Result.Body),
	}
}

// scanner is *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// scanRecord reads a row that was selected with columns.
func scanRecord(row scanner) (r onceguard.Record, err error) {
	var (
		id, sum, owner, digest                           []byte
		version, kind, horizon, refusals, maxAttempts    int64
		state, generation, gap, resultKept, identityKept int64
		created, since                                   int64
		keyed, claimed, lease                            sql.NullInt64
	)
	err = row.Scan(
		&id, &r.Scope, &r.Action, &r.Key,
		&version, &r.Fingerprint.KeyID, &sum,
		&kind, &horizon, &refusals, &maxAttempts,
		&state, &r.Attempt, &owner, &r.Process, &generation,
		&r.UnknownAttempt, &r.Waived, &r.RunAfterNeverWill,
		&created, &keyed, &claimed, &lease, &since,
		&r.SettledBy, &r.Reason, &r.Result.Type, &digest, &gap,
		&resultKept, &identityKept, &r.Pruned,
		&r.Input, &r.Result.Body,
	)
	if err != nil {
		return onceguard.Record{}, err
	}
	if err := errorsOf(fill(r.ID[:], id), fill(r.Fingerprint.Sum[:], sum), fill(r.Owner[:], owner), fill(r.Result.Digest[:], digest)); err != nil {
		return onceguard.Record{}, err
	}
	r.Fingerprint.Version = uint8(version)
	r.Policy = onceguard.Policy{Kind: onceguard.PolicyKind(kind), Horizon: time.Duration(horizon), Refusals: onceguard.Refusals(refusals), MaxAttempts: int(maxAttempts)}
	r.State, r.Generation, r.Result.Missing = onceguard.State(state), int(generation), onceguard.ResultGap(gap)
	r.ResultRetention, r.IdentityRetention = time.Duration(resultKept), time.Duration(identityKept)
	r.CreatedAt, r.Since = timeOf(created), timeOf(since)
	r.KeyedAt, r.ClaimedAt, r.LeaseUntil = orZero(keyed), orZero(claimed), orZero(lease)
	return r, nil
}

func fill(dst, src []byte) error {
	if len(src) != len(dst) {
		return fmt.Errorf("a stored value has %d bytes where %d belong: the database was changed by other means", len(src), len(dst))
	}
	copy(dst, src)
	return nil
}

func errorsOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}
