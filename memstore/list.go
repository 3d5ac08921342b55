package memstore

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"github.com/onceguard/onceguard"
)

// place is a record's position in a listing: newest first by first claim, then
// by request ID, which makes it unique and stable.
type place struct {
	created time.Time
	id      onceguard.RequestID
}

func (p place) compare(q place) int {
	return cmp.Or(q.created.Compare(p.created), slices.Compare(p.id[:], q.id[:]))
}

func (p place) String() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.created.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(p.created.Nanosecond()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.id[:]...))
}

func parsePlace(op, cursor string) (place, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) != 12+len(onceguard.RequestID{}) {
		return place{}, refused(op, "cursor %q is not one that this store gave: start without a cursor", cursor)
	}
	p := place{created: time.Unix(int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint32(b[8:]))).UTC()}
	copy(p.id[:], b[12:])
	return p, nil
}

func limited(n, most int) int {
	if n <= 0 {
		n = 100
	}
	return min(n, most)
}

// from returns the places after the cursor, in order; it needs the mutex.
func (s *Store) from(op, cursor string, keep func(onceguard.Record) bool) ([]place, error) {
	var after place
	if cursor != "" {
		p, err := parsePlace(op, cursor)
		if err != nil {
			return nil, err
		}
		after = p
	}
	var places []place
	for id, r := range s.records {
		p := place{r.CreatedAt, id}
		if (cursor == "" || p.compare(after) > 0) && keep(r) {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, place.compare)
	return places, nil
}

// List implements onceguard.Store.
func (s *Store) List(ctx context.Context, f onceguard.Filter) (onceguard.Page, error) {
	now, err := s.lock(ctx, "list")
	if err != nil {
		return onceguard.Page{}, err
	}
	defer s.mu.Unlock()
	places, err := s.from("list", f.Cursor, func(r onceguard.Record) bool { return selects(f, r, now) })
	if err != nil {
		return onceguard.Page{}, err
	}
	page := onceguard.Page{Now: now}
	if limit := limited(f.Limit, 1000); len(places) > limit {
		places = places[:limit]
		page.Next = places[limit-1].String()
	}
	for _, p := range places {
		r := copied(s.records[p.id])
		if !f.Results {
			r.Result.Body = nil
		}
		page.Records = append(page.Records, r)
	}
	return page, nil
}

func selects(f onceguard.Filter, r onceguard.Record, now time.Time) bool {
	age := now.Sub(r.Since)
	return (f.Scope == "" || f.Scope == r.Scope) &&
		(f.Action == "" || f.Action == r.Action) &&
		(f.Key == "" || f.Key == r.Key) &&
		(len(f.States) == 0 || slices.Contains(f.States, r.State)) &&
		(!f.Waived || r.Waived) &&
		(f.OlderThan == 0 || age >= f.OlderThan) &&
		(f.NewerThan == 0 || age <= f.NewerThan)
}
