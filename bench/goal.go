package bench

import (
	"fmt"
	"strings"
)

// goal is one number that the project set itself. Ratios are to the naive
// version in the same rounds, unless the text names another.
type goal struct {
	number int
	text   string
	rule   string // ">=", "<=", "=" or "" for one that is only reported
	bound  float64
	unit   string
}

// goals in the order in which the issue names them.
var goals = []goal{
	{1, "PostgreSQL, claim and settle, 64 callers, to naive", ">=", 3, "x"},
	{2, "PostgreSQL, claim and settle, 256 callers, to naive", ">=", 6, "x"},
	{3, "PostgreSQL, claim and settle, 1,024 callers, to naive", "", 0, "x"},
	{4, "PostgreSQL, claim and settle, 8 callers, to naive", ">=", 0.95, "x"},
	{5, "PostgreSQL, 1 caller: what the median adds to naive", "<=", 5, " %"},
	{6, "PostgreSQL, 1 ms added to each sync, 256 callers, to naive", ">=", 4, "x"},
	{7, "PostgreSQL, 64 callers: median latency to naive", "<=", 0.4, "x"},
	{8, "PostgreSQL, 256 callers: server CPU per operation", "<=", 25, " us"},
	{9, "PostgreSQL, 256 callers: commits per 1,000 operations", "<=", 100, ""},
	{10, "PostgreSQL, 1 caller: commits per 1,000 operations", "=", 2000, ""},
	{11, "PostgreSQL: stored bytes per receipt with a 200-byte result", "<=", 700, " B"},
	{12, "PostgreSQL, 256 callers: WAL per operation", "<=", 1000, " B"},
	{13, "PostgreSQL, 256 callers: replays from the store, to plain SELECT", ">=", 4, "x"},
	{14, "Replays from memory, below the typed layer, a second and core", ">=", 1e6, "/s"},
	{15, "Replays from memory, below the typed layer: allocations", "<=", 1, ""},
	{16, "SQLite, 64 callers, to naive with 64", ">=", 10, "x"},
	{17, "SQLite, 1,024 callers, to naive with 64", ">=", 25, "x"},
	{18, "DBOS, one-step workflow, 1 caller: the store to it", ">=", 3.5, "x"},
	{19, "DBOS, one-step workflow, 64 callers: the store to it", ">=", 18, "x"},
	{20, "DBOS, one-step workflow, 256 callers: the store to it", ">=", 35, "x"},
	{21, "Large table: the worst of insert, replay, sweep and prune, to 10,000 rows", "<=", 1.5, "x"},
	{22, "Soak: growth of the heap from its second to its last quarter", "<=", 10, " %"},
}

// verdict says what became of a goal.
func (g goal) verdict(value float64, measured bool) string {
	if !measured {
		return "not measured"
	}
	ok := false
	switch g.rule {
	case "":
		return "reported"
	case ">=":
		ok = value >= g.bound
	case "<=":
		ok = value <= g.bound
	case "=":
		// A background worker of the server may commit something in between.
		ok = value > g.bound*0.999 && value < g.bound*1.001
	}
	if ok {
		return "met"
	}
	return "**not met**"
}

// want is the goal as people read it.
func (g goal) want() string {
	if g.rule == "" {
		return "-"
	}
	return strings.NewReplacer(">=", "≥", "<=", "≤").Replace(g.rule) + " " + number(g.bound) + g.unit
}

// number prints three significant digits, large ones with separators.
func number(x float64) string {
	switch {
	case x < 0:
		return "-" + number(-x)
	case x >= 1000:
		whole := fmt.Sprintf("%.0f", x)
		var parts []string
		for ; len(whole) > 3; whole = whole[:len(whole)-3] {
			parts = append([]string{whole[len(whole)-3:]}, parts...)
		}
		return strings.Join(append([]string{whole}, parts...), ",")
	case x >= 100, x == float64(int64(x)):
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}
