package sqlitestore

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// selectPacked reads one row in five columns in place of 34: to hand over a
// column costs the driver more than it costs SQLite to join it to its
// neighbour. Numbers are separated by blanks, NULL being the least of them;
// texts lie end to end, their lengths among the numbers.
const selectPacked = `SELECT concat_ws(' ',
	octet_length(scope), octet_length(action), octet_length(key), octet_length(fingerprint_key),
	octet_length(process), octet_length(settled_by), octet_length(reason), octet_length(result_type),
	fingerprint_version, policy, horizon, refusals, max_attempts,
	state, attempt, generation, unknown_attempt, waived, run_after_never_will,
	created_at, coalesce(keyed_at, ` + noTime + `), coalesce(claimed_at, ` + noTime + `), coalesce(lease_until, ` + noTime + `), since,
	result_gap, result_retention, identity_retention, pruned) AS n,
	scope || action || key || fingerprint_key || process || settled_by || reason || result_type AS t,
	CAST(fingerprint_sum || owner || result_digest AS BLOB) AS b,
	input AS i, result_body AS r
FROM onceguard_receipt WHERE request_id = ?`

// noTime stands for NULL: SQLite's smallest number.
const noTime = `-9223372036854775808`

var errPacked = errors.New("a stored row cannot be read: the database was changed by other means")

// readRow reads one row; the zero Record where there is none.
func readRow(c runner, id onceguard.RequestID) (r onceguard.Record, err error) {
	var numbers, texts string
	var blobs []byte
	err = one(c, func(row scanner) error {
		return row.Scan(&numbers, &texts, &blobs, &r.Input, &r.Result.Body)
	}, selectPacked, id[:])
	if errors.Is(err, sql.ErrNoRows) {
		return onceguard.Record{}, nil
	}
	if err != nil {
		return onceguard.Record{}, err
	}
	r.ID = id
	if err := unpack(&r, numbers, texts, blobs); err != nil {
		return onceguard.Record{}, fmt.Errorf("request %s: %w", id, err)
	}
	return r, nil
}

func unpack(r *onceguard.Record, numbers, texts string, blobs []byte) error {
	const sum = 32
	if len(blobs) != 3*sum {
		return errPacked
	}
	copy(r.Fingerprint.Sum[:], blobs)
	copy(r.Owner[:], blobs[sum:])
	copy(r.Result.Digest[:], blobs[2*sum:])

	n := numberReader{rest: numbers}
	for _, text := range []*string{&r.Scope, &r.Action, &r.Key, &r.Fingerprint.KeyID, &r.Process, &r.SettledBy, &r.Reason, &r.Result.Type} {
		size := n.next()
		if size < 0 || size > int64(len(texts)) {
			return errPacked
		}
		*text, texts = texts[:size], texts[size:]
	}
	r.Fingerprint.Version = uint8(n.next())
	r.Policy.Kind, r.Policy.Horizon = onceguard.PolicyKind(n.next()), time.Duration(n.next())
	r.Policy.Refusals, r.Policy.MaxAttempts = onceguard.Refusals(n.next()), int(n.next())
	r.State, r.Attempt, r.Generation = onceguard.State(n.next()), n.next(), int(n.next())
	r.UnknownAttempt, r.Waived, r.RunAfterNeverWill = n.next() != 0, n.next() != 0, n.next() != 0
	r.CreatedAt, r.KeyedAt, r.ClaimedAt, r.LeaseUntil, r.Since = n.time(), n.time(), n.time(), n.time(), n.time()
	r.Result.Missing = onceguard.ResultGap(n.next())
	r.ResultRetention, r.IdentityRetention = time.Duration(n.next()), time.Duration(n.next())
	r.Pruned = n.next() != 0
	if n.bad || n.rest != "" || texts != "" {
		return errPacked
	}
	return nil
}

// numberReader takes numbers from a text.
type numberReader struct {
	rest string
	bad  bool
}

func (n *numberReader) next() int64 {
	text, rest, _ := strings.Cut(n.rest, " ")
	v, err := strconv.ParseInt(text, 10, 64)
	n.rest, n.bad = rest, n.bad || err != nil
	return v
}

func (n *numberReader) time() time.Time {
	us := n.next()
	if us == math.MinInt64 {
		return time.Time{}
	}
	return timeOf(us)
}
