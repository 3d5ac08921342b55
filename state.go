package onceguard

import "fmt"

// State is where a request stands. Its numbers are stored and never change.
type State uint8

// The states. Absent is the state of a request that has no row.
const (
	Absent    State = 0
	Claimed   State = 1 // an attempt may be running; from here on "it may have happened"
	Released  State = 2 // surely not done; may be claimed again
	Uncertain State = 3 // may or may not have happened
	Succeeded State = 4 // final
	Failed    State = 5 // final: surely not done, and refused for good
)

var stateNames = [...]string{"absent", "claimed", "released", "uncertain", "succeeded", "failed"}

// String returns the state's name, such as "uncertain".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// ParseState is the inverse of String.
func ParseState(s string) (State, error) {
	for i, n := range stateNames {
		if n == s {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("unknown state %q: use claimed, released, uncertain, succeeded or failed", s)
}

// Final reports whether s never changes again.
func (s State) Final() bool { return s == Succeeded || s == Failed }

// MarshalText writes the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *State) UnmarshalText(b []byte) (err error) {
	*s, err = ParseState(string(b))
	return err
}

// MayHaveRun reports whether an effect may have happened in state s.
func (s State) MayHaveRun() bool { return s == Claimed || s == Uncertain || s == Succeeded }
