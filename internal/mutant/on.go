//go:build mutant

package mutant

import (
	"fmt"
	"os"
	"sync/atomic"
)

// Enabled says whether this build has mutants.
const Enabled = true

// unknownStatus is the exit status for a mutant that the table does not list.
const unknownStatus = 125

var (
	active  = os.Getenv("ONCEGUARD_MUTANT")
	reached atomic.Bool
)

func init() {
	if active != "" {
		mustKnow(active)
	}
}

// On says whether the process runs with the named mutant.
func On(name string) bool {
	if active != name {
		mustKnow(name)
		return false
	}
	if reached.CompareAndSwap(false, true) {
		fmt.Fprintf(os.Stderr, "%s: %s was reached\n", Marker, name)
	}
	return true
}

func mustKnow(name string) {
	for _, m := range Table {
		if m.Name == name {
			return
		}
	}
	fmt.Fprintf(os.Stderr, "%s: no mutant is called %q; table.go lists them\n", Marker, name)
	os.Exit(unknownStatus)
}
