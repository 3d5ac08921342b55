package pgstore

import (
	"strings"

	"github.com/onceguard/onceguard/internal/mutant"
)

// planted breaks statements on purpose, in test binaries with mutants alone.
func planted(s statements) statements {
	swap := func(sql *string, from, to string) { *sql = strings.ReplaceAll(*sql, from, to) }
	if mutant.On("pg-settle-by-key") {
		swap(&s.settle, "attempt = $2::bigint AND owner = $3::bytea", "$2::bigint > 0 AND $3::bytea IS NOT NULL")
		swap(&s.settleMany.sql, "attempt = u.tried AND owner = u.mine", "TRUE")
	}
	if mutant.On("pg-claim-overwrites") {
		for _, sql := range []*string{&s.insertFirst.sql, &s.insertMany.sql} {
			swap(sql, "ON CONFLICT (request_id) DO NOTHING", "ON CONFLICT (request_id) DO UPDATE SET owner = EXCLUDED.owner, lease_until = EXCLUDED.lease_until")
		}
	}
	if mutant.On("pg-lease-from-start") {
		for _, sql := range []*string{&s.insertFirst.sql, &s.insertMany.sql, &s.clock} {
			swap(sql, "clock_timestamp()", "now()")
		}
	}
	return s
}
