package process

import "fmt"

// Liveness is what can be said about a process. The zero value is Unknown.
type Liveness int

// Unknown processes must be treated as if they ran.
const (
	Unknown Liveness = iota
	Alive
	Dead
)

// String returns "unknown", "alive" or "dead".
func (l Liveness) String() string {
	switch l {
	case Unknown:
		return "unknown"
	case Alive:
		return "alive"
	case Dead:
		return "dead"
	}
	return fmt.Sprintf("Liveness(%d)", int(l))
}

// State says whether the process runs. Dead stays true; Alive may be over when
// it is read.
func (i Identity) State() Liveness {
	if i.PID <= 0 || !i.near(place()) {
		return Unknown
	}
	return probe(i)
}

// near says whether i lives where our kernel can answer for it. Host is compared
// too: two hosts with one boot id are copies of one snapshot.
func (i Identity) near(p Identity) bool {
	return i.Boot != "" && i.PIDNamespace != "" &&
		i.OS == p.OS && i.Boot == p.Boot && i.PIDNamespace == p.PIDNamespace && i.Host == p.Host
}

// AllDead says whether every process of ids is Dead. It is false for none at
// all: an owner that nobody named may well run.
func AllDead(ids []Identity) bool {
	for _, id := range ids {
		if id.State() != Dead {
			return false
		}
	}
	return len(ids) > 0
}
