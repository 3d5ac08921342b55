package sqlitestore

import "github.com/onceguard/onceguard/internal/fault"

// beforeCommit and afterCommit are the store's failpoints: an injected error
// before the commit is surely not written, one after it surely is, and the
// caller knows neither.
func beforeCommit(op string) error {
	switch op {
	case "claim":
		return fault.PointErr("store.claim.before-commit")
	case "settle":
		return fault.PointErr("store.settle.before-commit")
	}
	return nil
}

func afterCommit(op string) error {
	switch op {
	case "claim":
		return fault.PointErr("store.claim.after-commit")
	case "settle":
		return fault.PointErr("store.settle.after-commit")
	}
	return nil
}
