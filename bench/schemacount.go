package bench

import (
	"context"
	"time"
)

// count runs a fixed number of operations between two readings, and gives where
// the server's log stood before. It does not look at noise: what is made of
// these samples are counters.
func (m *meter) count(ctx context.Context, ops int, run func() error) (s Sample, from int64, err error) {
	before, err := m.read(ctx)
	if err != nil {
		return s, 0, err
	}
	began := time.Now()
	if err := run(); err != nil {
		return s, 0, err
	}
	s.Ops, s.Elapsed, s.Served = int64(ops), time.Since(began), true
	after, err := m.read(ctx)
	if err != nil {
		return s, 0, err
	}
	s.Client, s.Server = after.client-before.client, after.server-before.server
	s.Xacts, s.WAL = after.xid-before.xid, after.wal-before.wal
	s.Noise = share(after.busy-before.busy-s.Client-s.Server, s.Elapsed)
	return s, before.wal, nil
}

// Beside the number of records of a kind: pageImages counts bytes of whole
// pages, of all kinds, and sizeOf + kind the bytes of its records without those.
const (
	pageImages = "bytes of whole pages"
	sizeOf     = "bytes of "
)

// walKinds adds the WAL records since a position to those counted so far, by
// resource manager and kind as pg_walinspect names them.
func (m *meter) walKinds(ctx context.Context, from int64, into map[string]float64) error {
	rows, err := m.conn.Query(ctx, `SELECT "resource_manager/record_type", count::float8, record_size::float8, fpi_size::float8
		FROM pg_get_wal_stats('0/0'::pg_lsn + $1::bigint::numeric, pg_current_wal_flush_lsn(), true) WHERE count > 0`, from)
	if err != nil {
		return err
	}
	var (
		kind               string
		count, size, pages float64
	)
	for rows.Next() {
		if err := rows.Scan(&kind, &count, &size, &pages); err != nil {
			return err
		}
		into[kind] += count
		into[sizeOf+kind] += size
		into[pageImages] += pages
	}
	return rows.Err()
}
