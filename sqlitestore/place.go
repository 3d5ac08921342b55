package sqlitestore

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/onceguard/onceguard"
)

// place is a record's position in a listing: newest first by first claim, then
// by request ID, which makes it unique and stable. It is all that a cursor
// holds.
type place struct {
	created int64
	id      onceguard.RequestID
}

func placeOf(r onceguard.Record) place { return place{micros(r.CreatedAt), r.ID} }

func (p place) String() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.created))
	return base64.RawURLEncoding.EncodeToString(append(b, p.id[:]...))
}

func parsePlace(op, cursor string) (place, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) != 8+len(onceguard.RequestID{}) {
		return place{}, refused(op, "cursor %q is not one that this store gave: start without a cursor", cursor)
	}
	p := place{created: int64(binary.BigEndian.Uint64(b))}
	copy(p.id[:], b[8:])
	return p, nil
}

// after is the SQL condition for what a listing shows after p, and its
// arguments. The first half lets the index find the place.
func (p place) after() (string, []any) {
	return `created_at <= ? AND (created_at < ? OR request_id > ?)`, []any{p.created, p.created, p.id[:]}
}

const newestFirst = ` ORDER BY created_at DESC, request_id LIMIT ?`

func limited(n int) int {
	if n <= 0 {
		n = 100
	}
	return min(n, 1000)
}
