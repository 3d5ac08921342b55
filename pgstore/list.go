package pgstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// place is a record's position in a listing: the time of its first claim and
// its request ID, which makes it unique.
type place struct {
	created time.Time
	id      onceguard.RequestID
}

func placeOf(r onceguard.Record) place { return place{r.CreatedAt, r.ID} }

func (p place) String() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.created.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.id[:]...))
}

func (s *Store) parsePlace(op, cursor string) (place, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) != 8+len(onceguard.RequestID{}) {
		return place{}, s.refuse(op, "cursor %q is not one that this store gave: start without a cursor", cursor)
	}
	p := place{created: time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()}
	copy(p.id[:], b[8:])
	return p, nil
}

func limited(n int) int {
	if n <= 0 {
		n = 100
	}
	return min(n, 1000)
}

// query builds a listing's conditions. States are written into the text, not
// passed: only then can the server prove that the index of open rows serves.
type query struct {
	where []string
	args  []any
}

func (q *query) and(condition string, args ...any) {
	for _, a := range args {
		q.args = append(q.args, a)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(q.args)), 1)
	}
	q.where = append(q.where, condition)
}

func (q *query) sql(cols, order string, limit int) string {
	where := ""
	if len(q.where) > 0 {
		where = " WHERE " + strings.Join(q.where, " AND ")
	}
	return fmt.Sprintf("SELECT %s FROM onceguard_receipt%s ORDER BY %s LIMIT %d", cols, where, order, limit)
}

func filtered(f onceguard.Filter) *query {
	q := &query{}
	for _, c := range []struct{ column, value string }{{"scope", f.Scope}, {"action", f.Action}, {"key", f.Key}} {
		if c.value != "" {
			q.and(c.column+" = ?::text", c.value)
		}
	}
	if len(f.States) > 0 {
		states := make([]string, len(f.States))
		for i, st := range f.States {
			states[i] = fmt.Sprint(uint8(st))
		}
		q.and("state IN (" + strings.Join(states, ", ") + ")")
	}
	if f.Waived {
		q.and("waived")
	}
	if f.OlderThan != 0 {
		q.and("since <= clock_timestamp() - ?::bigint * interval '1 microsecond'", micro(f.OlderThan))
	}
	if f.NewerThan != 0 {
		q.and("since >= clock_timestamp() - ?::bigint * interval '1 microsecond'", micro(f.NewerThan))
	}
	return q
}

// List implements onceguard.Store.
func (s *Store) List(ctx context.Context, f onceguard.Filter) (onceguard.Page, error) {
	q := filtered(f)
	if f.Cursor != "" {
		p, err := s.parsePlace("list", f.Cursor)
		if err != nil {
			return onceguard.Page{}, err
		}
		q.and("(created_at, request_id) < (?::timestamptz, ?::bytea)", p.created, p.id[:])
	}
	limit := limited(f.Limit)
	cols := columnsNoBody
	if f.Results {
		cols = columns
	}
	records, now, err := s.read(ctx, "list", q, cols, "created_at DESC, request_id DESC", limit+1)
	if err != nil {
		return onceguard.Page{}, err
	}
	page := onceguard.Page{Records: records, Now: now}
	if len(records) > limit {
		page.Records = records[:limit]
		page.Next = placeOf(records[limit-1]).String()
	}
	return page, nil
}

// read runs a listing and gives the store's time before it.
func (s *Store) read(ctx context.Context, op string, q *query, cols, order string, limit int) (list []onceguard.Record, now time.Time, err error) {
	err = s.with(ctx, op, common, func(ctx context.Context, c *conn) error {
		b := &pgx.Batch{}
		queueNow(b, &now)
		// Planned each time, for the tables as they are: a plan kept from when
		// they were small would look for open rows among all.
		exec(b, `SELECT set_config('plan_cache_mode', 'force_custom_plan', true)`)
		b.Queue(q.sql(cols, order, limit), q.args...).Query(func(rows pgx.Rows) (err error) {
			list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (onceguard.Record, error) { return scan(row) })
			return err
		})
		return c.run(ctx, b, false)
	})
	return list, now, err
}
