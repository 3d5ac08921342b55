package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Print writes the report for a person.
func (r Report) Print(w io.Writer) error {
	var b strings.Builder
	b.WriteString("\nOne order each, retried once after the fault. Payments as counted at the ledger:\n\n")
	rows := [][]string{{"what goes wrong", "unguarded", "guarded", "what the guarded retry was told"}}
	for _, row := range r.Rows {
		rows = append(rows, []string{row.Scenario, payments(row.Unguarded.Payments), payments(row.Guarded.Payments), row.Guarded.Retry})
	}
	rows = append(rows, []string{
		"in all, for " + fmt.Sprint(r.Intended) + " orders",
		fmt.Sprintf("%d, %d too many", r.UnguardedPayments, r.UnguardedDoubles), fmt.Sprintf("%d, %d too many", r.GuardedPayments, r.GuardedDoubles), "",
	})
	b.WriteString(columns(rows))
	for _, row := range r.Rows {
		if strings.HasPrefix(row.Guarded.Retry, "uncertain") {
			fmt.Fprintf(&b, "\nUncertain means: the agent died, so nobody knew whether it had paid. The guard did not run it\nagain; a lookup asked the ledger and settled it (%s is now %s).\n", row.Guarded.ID, row.Guarded.State)
			break
		}
	}
	fmt.Fprintf(&b, "\n%d processes in %s; every figure was measured in this run.\n", r.Processes, r.Took.Round(10*time.Millisecond))
	_, err := io.WriteString(w, b.String())
	return err
}

func payments(n int) string {
	if n == 1 {
		return "1"
	}
	return fmt.Sprintf("%d  ✗", n)
}

// columns aligns rows; the first is the heading, the last the sum.
func columns(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			b.WriteString("  " + cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
			}
		}
		s := strings.TrimRight(b.String(), " ")
		b.Reset()
		b.WriteString(s + "\n")
	}
	rule := func() {
		total := 2 * (len(width) - 1)
		for _, w := range width {
			total += w
		}
		b.WriteString("  " + strings.Repeat("─", total) + "\n")
	}
	for i, row := range rows {
		if i == len(rows)-1 {
			rule()
		}
		line(row)
		if i == 0 {
			rule()
		}
	}
	return b.String()
}
