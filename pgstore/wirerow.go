package pgstore

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// wireRow reads the columns of one row in the wire's binary form, from left to
// right. The values belong to the connection: what is kept is copied.
type wireRow struct {
	values [][]byte
	at     int
	err    error
}

// next gives the next column; size is its length in bytes, or -1 for any.
func (r *wireRow) next(size int, nullable bool) []byte {
	if r.err != nil || r.at >= len(r.values) {
		r.fail("is missing")
		return make([]byte, max(size, 0))
	}
	v := r.values[r.at]
	r.at++
	if v == nil && nullable {
		return nil
	}
	if v == nil || size >= 0 && len(v) != size {
		r.fail(fmt.Sprintf("has %d bytes, want %d", len(v), size))
		return make([]byte, max(size, 0))
	}
	return v
}

func (r *wireRow) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("column %d of the server's answer %s: the schema is not the one that this program knows", r.at, what)
	}
}

func (r *wireRow) int8() int64     { return int64(binary.BigEndian.Uint64(r.next(8, false))) }
func (r *wireRow) int4() int32     { return int32(binary.BigEndian.Uint32(r.next(4, false))) }
func (r *wireRow) int2() int16     { return int16(binary.BigEndian.Uint16(r.next(2, false))) }
func (r *wireRow) bool() bool      { return r.next(1, false)[0] != 0 }
func (r *wireRow) time() time.Time { return time.UnixMicro(r.int8() + serverEpoch).UTC() }

// timeOrZero is the zero time for NULL.
func (r *wireRow) timeOrZero() time.Time {
	v := r.next(8, true)
	if v == nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(v)) + serverEpoch).UTC()
}

// bytes copies a value; NULL is nil.
func (r *wireRow) bytes() []byte {
	v := r.next(-1, true)
	if v == nil {
		return nil
	}
	return append(make([]byte, 0, len(v)), v...)
}

func (r *wireRow) id() (id onceguard.RequestID) {
	copy(id[:], r.next(len(id), false))
	return id
}

// texts are the text columns of a row, cut from one copy of them all.
type texts struct {
	b    strings.Builder
	into []*string
	ends []int
}

func (t *texts) add(v []byte, into *string) {
	t.b.Write(v)
	t.into, t.ends = append(t.into, into), append(t.ends, t.b.Len())
}

func (t *texts) cut() {
	all, from := t.b.String(), 0
	for i, end := range t.ends {
		*t.into[i] = all[from:end]
		from = end
	}
}

// record reads the columns of a receipt: scan (row.go) for rows as they come
// from the wire.
func (r *wireRow) record() (onceguard.Record, error) {
	var n onceguard.Record
	var t texts
	var intoSpace [8]*string
	var endSpace [8]int
	t.into, t.ends = intoSpace[:0], endSpace[:0]
	size := 0
	for _, i := range textColumns {
		if i < len(r.values) {
			size += len(r.values[i])
		}
	}
	t.b.Grow(size)
	text := func(into *string) { t.add(r.next(-1, false), into) }

	n.ID = r.id()
	text(&n.Scope)
	text(&n.Action)
	text(&n.Key)
	n.Fingerprint.Version = uint8(r.int2())
	text(&n.Fingerprint.KeyID)
	copy(n.Fingerprint.Sum[:], r.next(32, false))
	n.Policy.Kind = onceguard.PolicyKind(r.int2())
	n.Policy.Horizon = time.Duration(r.int8())
	n.Policy.Refusals = onceguard.Refusals(r.int2())
	n.Policy.MaxAttempts = int(r.int4())
	n.State = onceguard.State(r.int2())
	n.Attempt = r.int8()
	copy(n.Owner[:], r.next(32, true))
	text(&n.Process)
	n.Generation = int(r.int4())
	n.UnknownAttempt = r.bool()
	n.Waived = r.bool()
	n.RunAfterNeverWill = r.bool()
	n.CreatedAt, n.KeyedAt, n.ClaimedAt = r.timeOrZero(), r.timeOrZero(), r.timeOrZero()
	n.LeaseUntil, n.Since = r.timeOrZero(), r.timeOrZero()
	text(&n.SettledBy)
	text(&n.Reason)
	n.Result.Body = r.bytes()
	text(&n.Result.Type)
	copy(n.Result.Digest[:], r.next(32, true))
	n.Result.Missing = onceguard.ResultGap(r.int2())
	n.ResultRetention, n.IdentityRetention = time.Duration(r.int8()), time.Duration(r.int8())
	n.Input = r.bytes()
	n.Pruned = r.bool()
	if r.err != nil {
		return onceguard.Record{}, r.err
	}
	t.cut()
	return n, known(n)
}

// textColumns are the places of the text columns in columns.
var textColumns = [...]int{1, 2, 3, 5, 14, 24, 25, 27}

// known refuses a row that only a later version can have written.
func known(r onceguard.Record) error {
	if r.State < onceguard.Claimed || r.State > onceguard.Failed || r.Policy.Kind > onceguard.TransactionalKind {
		return refusal("request %s has state %d and policy %d, which this version does not know; use a newer one", r.ID, r.State, r.Policy.Kind)
	}
	return nil
}
