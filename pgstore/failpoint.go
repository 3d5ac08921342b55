package pgstore

import (
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceguard/onceguard/internal/fault"
)

type tag = pgconn.CommandTag

// failpoint is a place where crash tests end this process or fail the call.
// The names are spelled out: package fault lists them, and a test looks for
// each in the source.
func failpoint(op, where string) error {
	switch op + "." + where {
	case "claim.before-commit":
		return fault.PointErr("store.claim.before-commit")
	case "claim.after-commit":
		return fault.PointErr("store.claim.after-commit")
	case "settle.before-commit":
		return fault.PointErr("store.settle.before-commit")
	case "settle.after-commit":
		return fault.PointErr("store.settle.after-commit")
	case "renew.before-commit":
		return fault.PointErr("store.renew.before")
	case "renew.after-commit":
		return fault.PointErr("store.renew.after")
	}
	return nil
}
