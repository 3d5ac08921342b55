package model

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
)

var update = flag.Bool("update", false, "rewrite transitions.h from the code's table")

var states = []onceguard.State{
	onceguard.Absent, onceguard.Claimed, onceguard.Released, onceguard.Uncertain, onceguard.Succeeded, onceguard.Failed,
}

var policies = []onceguard.PolicyKind{
	onceguard.AtMostOnceKind, onceguard.SafeRetryKind, onceguard.RerunKind, onceguard.TransactionalKind,
}

// change is one way through the table.
type change struct {
	by       onceguard.Transition
	from, to onceguard.State
}

func (c change) String() string { return fmt.Sprintf("%s %s %s", c.by, c.from, c.to) }

// changes spells the code's table out: T14 changes nothing, and T15 drops a
// result or the row.
func changes() []change {
	var all []change
	for _, r := range onceguard.Transitions() {
		for _, from := range r.From {
			for _, to := range r.To {
				switch {
				case r.Transition == onceguard.T14 && from != to:
				case r.Transition == onceguard.T15 && to != from && to != onceguard.Absent:
				default:
					all = append(all, change{r.Transition, from, to})
				}
			}
		}
	}
	return all
}

// TestTransitions holds transitions.h, from which the model knows states,
// policies and transitions, to the code.
func TestTransitions(t *testing.T) {
	want := header()
	if *update {
		if err := os.WriteFile("transitions.h", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("transitions.h")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("transitions.h differs from onceguard.Transitions(): change the model's rules likewise, then run: go test ./model -run TestTransitions -update")
	}
}

func header() string {
	var b strings.Builder
	b.WriteString("/* Code generated from onceguard.Transitions() by go test ./model -run TestTransitions -update; DO NOT EDIT. */\n")
	b.WriteString("#ifndef OG_TABLE /* for Promela */\n")
	for _, s := range states {
		fmt.Fprintf(&b, "#define %s %d\n", constant(s), s)
	}
	for _, p := range policies {
		fmt.Fprintf(&b, "#define %s %d\n", constant(p), p)
	}
	last := onceguard.NoTransition
	for _, r := range onceguard.Transitions() {
		fmt.Fprintf(&b, "#define %s %d\n", r.Transition, r.Transition)
		last = max(last, r.Transition)
	}
	b.WriteString("#else /* for C */\n")
	fmt.Fprintf(&b, "#define OG_TRANSITIONS %d\n#define OG_STATES %d\n", last+1, len(states))
	names := make([]string, 0, last+1)
	for t := onceguard.NoTransition; t <= last; t++ {
		names = append(names, t.String())
	}
	array(&b, "og_transition_names", names)
	array(&b, "og_state_names", texts(states))
	array(&b, "og_policy_names", texts(policies))
	b.WriteString("static const unsigned char og_table[OG_TRANSITIONS][OG_STATES][OG_STATES] = {\n")
	for _, c := range changes() {
		fmt.Fprintf(&b, "\t[%d][%d][%d] = 1, /* %s */\n", c.by, c.from, c.to, c)
	}
	b.WriteString("};\n#endif\n")
	return b.String()
}

// constant is a name as C and Promela spell constants: at-most-once, AT_MOST_ONCE.
func constant(s fmt.Stringer) string {
	return strings.ToUpper(strings.ReplaceAll(s.String(), "-", "_"))
}

func texts[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}

func array(b *strings.Builder, name string, list []string) {
	fmt.Fprintf(b, "static const char *const %s[] = {\"%s\"};\n", name, strings.Join(list, `", "`))
}
