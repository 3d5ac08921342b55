package bench

import (
	"fmt"
	"strings"
)

// schemaTables show what the variants came to, for docs/performance.md.
func schemaTables(all []*subject, n schemaSizes) string {
	var w strings.Builder
	var noisy []float64
	for _, x := range all {
		for _, s := range x.batch {
			noisy = append(noisy, 100*s.Noise)
		}
	}
	if len(noisy) > 0 {
		fmt.Fprintf(&w, "Other programs used %.0f %% of the machine meanwhile (median). ", median(noisy))
	}
	fmt.Fprintf(&w, "Claim and settle of new keys, 200-byte results, one session: %d lists of %d a round, %d lists open at a time; server CPU is the lower quartile of the rounds, counters are of all.\n\n", n.lists, n.list, lag)
	w.WriteString("| Variant | WAL B/op | index entries/op | row locks/op | B/receipt: never vacuumed, vacuumed, FULL | HOT % | dead rows/op | server us/op | replay us/op | lone claim + settle us | ops/s (noisy) |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, x := range all {
		if x.part {
			continue
		}
		batch := Row{Samples: x.batch}
		ops := batch.Total(func(s Sample) float64 { return float64(s.Ops) })
		per := func(kinds ...string) string {
			sum := 0.0
			for _, k := range kinds {
				sum += x.kinds[k]
			}
			return fmt.Sprintf("%.2f", sum/ops)
		}
		hot := "-"
		if x.hot >= 0 {
			hot = fmt.Sprintf("%.0f", 100*x.hot)
		}
		fmt.Fprintf(&w, "| %s | %.0f | %s | %s | %.0f, %.0f, %.0f | %s | %.2f | %s | %s | %.0f + %.0f | %s |\n", x.name, batch.Total(wal),
			per("Btree/INSERT_LEAF", "Btree/SPLIT_L", "Btree/SPLIT_R"), per("Heap/LOCK"), x.fresh, x.kept, x.packed, hot, x.dead,
			number(batch.Low(serverCPU)), number(Row{Samples: x.replays}.Low(serverCPU)),
			Row{Samples: x.first}.Low(serverCPU), Row{Samples: x.last}.Low(serverCPU), number(batch.Median(rate)))
	}
	fmt.Fprintf(&w, "\nBeside %s more receipts, %d claims open:\n\n", number(float64(n.crowd)), n.list)
	w.WriteString("| Variant | pages that one sweep looks at | and a listing of the newest 100 | WAL B/op right after a checkpoint | of it whole pages |\n|---|---|---|---|---|\n")
	for _, x := range all {
		if x.crowded {
			fmt.Fprintf(&w, "| %s | %s | %s | %s | %s |\n", x.name, number(x.sweep), number(x.list), number(x.after), number(x.afterFP))
		}
	}
	w.WriteString("\nWhere the WAL of an operation goes, bytes:\n\n| Variant | inserted rows | updates, deletes | index entries | page splits | row locks | confirmed inserts |\n|---|---|---|---|---|---|---|\n")
	for _, x := range all {
		if x.part || x.store {
			continue
		}
		ops := Row{Samples: x.batch}.Total(func(s Sample) float64 { return float64(s.Ops) })
		fmt.Fprintf(&w, "| %s ", x.name)
		for _, kinds := range [][]string{
			{"Heap/INSERT", "Heap/INSERT+INIT"},
			{"Heap/UPDATE", "Heap/UPDATE+INIT", "Heap/HOT_UPDATE", "Heap/HOT_UPDATE+INIT", "Heap/DELETE"},
			{"Btree/INSERT_LEAF", "Btree/INSERT_POST", "Btree/INSERT_UPPER"},
			{"Btree/SPLIT_L", "Btree/SPLIT_R"},
			{"Heap/LOCK"},
			{"Heap/HEAP_CONFIRM"},
		} {
			sum := 0.0
			for _, k := range kinds {
				sum += x.kinds[sizeOf+k]
			}
			fmt.Fprintf(&w, "| %.0f ", sum/ops)
		}
		w.WriteString("|\n")
	}
	fmt.Fprintf(&w, "\nWhat a lone call costs the server, microseconds of CPU, lower quartile of %d runs of %d calls in turns:\n\n| Statements | claim | settle | both |\n|---|---|---|---|\n", len(all[0].first), n.lone)
	for _, x := range all {
		if x.part || strings.HasPrefix(x.name, "A: ") || x.name == "D: A, lean answer" || strings.HasPrefix(x.name, "B: ") {
			a, z := Row{Samples: x.first}.Low(serverCPU), Row{Samples: x.last}.Low(serverCPU)
			fmt.Fprintf(&w, "| %s | %.0f | %.0f | %.0f |\n", x.name, a, z, a+z)
		}
	}
	return w.String()
}
