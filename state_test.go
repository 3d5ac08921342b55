package onceguard

import (
	"encoding/json"
	"testing"
)

func TestStateNames(t *testing.T) {
	for s, want := range map[State]struct {
		name       string
		final, ran bool
	}{
		Absent:    {"absent", false, false},
		Claimed:   {"claimed", false, true},
		Released:  {"released", false, false},
		Uncertain: {"uncertain", false, true},
		Succeeded: {"succeeded", true, true},
		Failed:    {"failed", true, false},
	} {
		if s.String() != want.name || s.Final() != want.final || s.MayHaveRun() != want.ran {
			t.Errorf("%d: %s, final %v, may have run %v; want %+v", s, s, s.Final(), s.MayHaveRun(), want)
		}
		text, err := json.Marshal(s)
		if err != nil || string(text) != `"`+want.name+`"` {
			t.Errorf("%s is written %s, %v", s, text, err)
		}
		var back State
		if err := json.Unmarshal(text, &back); err != nil || back != s {
			t.Errorf("%s is read back as %s, %v", text, back, err)
		}
	}
	for _, name := range []string{"", "Claimed", "done", "state(6)"} {
		if s, err := ParseState(name); err == nil {
			t.Errorf("%q is read as %s", name, s)
		}
	}
	if State(6).String() != "state(6)" || State(6).Final() {
		t.Error("a state of another version has a name or is final")
	}
}
