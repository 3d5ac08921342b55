package mutant

// Marker is a string that binaries with mutants contain and all others lack.
const Marker = "onceguard-mutants-are-compiled-in"

// Mutant is one guarantee broken on purpose.
type Mutant struct {
	Name   string
	Breaks string
}

// Table lists every mutant.
var Table = []Mutant{
	{"fail-open", "x"},
}
