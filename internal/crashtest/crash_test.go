//go:build linux

package crashtest_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// inCI says which cells are run every time.
func (c cell) inCI() bool {
	return c.action == actKill || c.action == actError
}

// TestCrashTable runs the cells of docs/faults.md and compares.
func TestCrashTable(t *testing.T) {
	table := map[cell]want{}
	if !*printing {
		table = readTable(t)
	}
	books := newBooks(t)
	var mu sync.Mutex
	got := map[cell]string{}
	ran, again := 0, 0
	t.Run("cells", func(t *testing.T) {
		for _, store := range stores {
			t.Run(store, func(t *testing.T) {
				t.Parallel()
				var shared *memory
				if store == postgres {
					// Rows of one database do not touch each other, and a cell's
					// killed process holds nothing that another cell needs.
					shared = newPostgres(t, pgtest.Server(t))
				}
				for _, c := range cells() {
					if c.store != store || !*full && !c.inCI() {
						continue
					}
					t.Run(c.String(), func(t *testing.T) {
						t.Parallel()
						m := shared
						if m == nil {
							m = newSQLite(t)
						}
						w, ok := table[c]
						for try := 1; ; try++ {
							began := time.Now()
							o := c.run(t, m, books)
							wrong := ""
							if !*printing {
								if wrong = w.matches(o); !ok {
									wrong = "the table has no such cell"
								}
							}
							mu.Lock()
							got[c] = o.String()
							if try == 1 {
								ran++
							}
							mu.Unlock()
							if wrong == "" {
								return
							}
							if try == 3 || !stalledSince(began) {
								t.Fatalf("%s, written is %q, seen %q", wrong, w.text, o)
							}
							t.Logf("%s while the machine stalled: once more", wrong)
							mu.Lock()
							again++
							mu.Unlock()
						}
					})
				}
			})
		}
	})
	t.Logf("%d cells, %d run again because the machine stalled", ran, again)
	if *printing || testing.Verbose() {
		report(got)
	}
}

// report prints what the cells gave, in the form of docs/faults.md.
func report(got map[cell]string) {
	for _, action := range actions {
		fmt.Printf("\n### %s\n\n| point | store |", action)
		for _, policy := range crashtest.Policies {
			fmt.Printf(" %s |", policy)
		}
		fmt.Print("\n|---|---|---|---|---|---|---|\n")
		for _, point := range points(action) {
			rows := map[string]string{}
			for _, store := range stores {
				for _, policy := range crashtest.Policies {
					if text, ok := got[cell{action, point, store, policy}]; ok {
						rows[store] += " " + text + " |"
					}
				}
			}
			if rows[sqlite] == rows[postgres] {
				rows = map[string]string{"both": rows[sqlite]}
			}
			for _, store := range []string{"both", sqlite, postgres} {
				if rows[store] != "" {
					fmt.Printf("| `%s` | %s |%s\n", point, store, rows[store])
				}
			}
		}
	}
}
