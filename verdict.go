package onceguard

import "fmt"

// Finding is what a reconcile lookup found.
type Finding uint8

// The findings. Only the first three settle anything.
const (
	// Unknown: the lookup could not tell. It is asked again.
	Unknown Finding = iota
	// Happened: the effect took place; Verdict.Value is its result.
	Happened
	// WasRefused: the downstream refused it for good; nothing happened.
	WasRefused
	// NeverWill: it did not happen and cannot happen any more, for every
	// attempt up to the one asked about, because the lookup itself made sure
	// (it cancelled the intent, or voided the key by a mark that only grows).
	// "Not found" alone is NotSeen.
	NeverWill
	// NotSeen: no trace of it now; a delayed request may still arrive.
	NotSeen
)

var findingNames = [...]string{"unknown", "happened", "refused", "never-will", "not-seen"}

// String names the finding.
func (f Finding) String() string {
	if int(f) < len(findingNames) {
		return findingNames[f]
	}
	return fmt.Sprintf("finding(%d)", uint8(f))
}

// Verdict is a lookup's answer.
type Verdict[T any] struct {
	Finding Finding
	Value   T      // of Happened
	Reason  string // kept as evidence; required for nothing, useful for everything
}
