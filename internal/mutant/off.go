//go:build !mutant

package mutant

// Enabled says whether this build has mutants.
const Enabled = false

// On says whether the process runs with the named mutant. It is false in this
// build.
func On(string) bool { return false }
