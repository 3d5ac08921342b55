package sqlitestore

import (
	"context"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// withoutBody reads everything but the result's bytes: they are the last
// column, so SQLite does not touch the pages that hold them.
var withoutBody = strings.TrimSuffix(columns, "result_body") + "NULL"

// narrow leaves the input out too, for those who only look at the state.
var narrow = strings.TrimSuffix(columns, "input, result_body") + "NULL, NULL"

// List implements onceguard.Store.
func (s *Store) List(ctx context.Context, f onceguard.Filter) (onceguard.Page, error) {
	const op = "list"
	if err := s.usable(ctx); err != nil {
		return onceguard.Page{}, cleanly(op, err)
	}
	page := onceguard.Page{Now: s.now()}
	where, args := conditions(f, page.Now)
	if f.Cursor != "" {
		p, err := parsePlace(op, f.Cursor)
		if err != nil {
			return onceguard.Page{}, err
		}
		condition, more := p.after()
		where, args = append(where, condition), append(args, more...)
	}
	limit := limited(f.Limit)
	which := withoutBody
	if f.Results {
		which = columns
	}
	list, err := s.records(ctx, "SELECT "+which+" FROM "+listed(f)+all(where)+newestFirst, append(args, limit+1)...)
	if err != nil {
		return onceguard.Page{}, cleanly(op, err)
	}
	if len(list) > limit {
		list = list[:limit]
		page.Next = placeOf(list[limit-1]).String()
	}
	page.Records = list
	return page, nil
}

// listed makes a list of open records look at those alone, however many others
// there are: the planner would walk all of them in order of their creation.
func listed(f onceguard.Filter) string {
	for _, state := range f.States {
		if state != onceguard.Claimed && state != onceguard.Uncertain {
			return "onceguard_receipt"
		}
	}
	if len(f.States) == 0 {
		return "onceguard_receipt"
	}
	return "onceguard_receipt INDEXED BY onceguard_receipt_open"
}

// conditions translates a filter. Ages are compared as the reference store
// does, on the store's clock.
func conditions(f onceguard.Filter, now time.Time) (where []string, args []any) {
	add := func(condition string, arg ...any) {
		where, args = append(where, condition), append(args, arg...)
	}
	if f.Scope != "" {
		add("scope = ?", f.Scope)
	}
	if f.Action != "" {
		add("action = ?", f.Action)
	}
	if f.Key != "" {
		add("key = ?", f.Key)
	}
	if len(f.States) > 0 {
		marks := make([]any, len(f.States))
		for i, state := range f.States {
			marks[i] = int64(state)
		}
		add("state IN (?"+strings.Repeat(", ?", len(marks)-1)+")", marks...)
		if listed(f) != "onceguard_receipt" {
			add(openRows)
		}
	}
	if f.Waived {
		add("waived = 1")
	}
	if f.OlderThan != 0 {
		add("since <= ?", micros(now.Add(-f.OlderThan)))
	}
	if f.NewerThan != 0 {
		add("since >= ?", micros(now.Add(-f.NewerThan)))
	}
	return where, args
}

func all(where []string) string {
	if len(where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(where, " AND ")
}

func (s *Store) records(ctx context.Context, query string, args ...any) ([]onceguard.Record, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []onceguard.Record
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
