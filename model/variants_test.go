package model

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// A variant is one line of variants.txt: one run of a verifier.
type variant struct {
	kind   kind
	full   bool // only where time is no object
	title  string
	params string
	// want names the paths that a hold must have taken, or the properties of
	// which a break must violate one.
	want []string
}

type kind string

const (
	hold  kind = "hold"  // no property is violated in any schedule
	ends  kind = "ends"  // there is no infinite run, so nothing here rests on fairness
	wrong kind = "break" // a rule is wrong, and it must be seen
)

func variants(t *testing.T) []variant {
	t.Helper()
	data, err := os.ReadFile("variants.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []variant
	for n, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := parse(line)
		if err != nil {
			t.Fatalf("variants.txt:%d: %v", n+1, err)
		}
		all = append(all, v)
	}
	return all
}

func parse(line string) (variant, error) {
	f := strings.Split(line, "|")
	if len(f) != 4 {
		return variant{}, fmt.Errorf("%d fields, want 4: kind | title | parameters | paths or properties", len(f))
	}
	first := strings.Fields(f[0])
	v := variant{title: strings.TrimSpace(f[1]), params: strings.Join(strings.Fields(f[2]), " "), want: strings.Fields(f[3])}
	if len(first) == 0 {
		return variant{}, fmt.Errorf("no kind")
	}
	v.kind, v.full = kind(first[0]), len(first) > 1 && first[1] == "full"
	switch {
	case v.kind != hold && v.kind != ends && v.kind != wrong:
		return variant{}, fmt.Errorf("unknown kind %q", first[0])
	case len(first) > 1 && !v.full:
		return variant{}, fmt.Errorf("unknown word %q", first[1])
	case (v.kind == wrong) != (v.wrongRule() != ""):
		return variant{}, fmt.Errorf("a break has one wrong=RULE, and nothing else has")
	case v.kind != ends && len(v.want) == 0:
		return variant{}, fmt.Errorf("it says nothing about what must be seen")
	}
	return v, nil
}

// wrongRule is the rule that the variant has wrong.
func (v variant) wrongRule() string {
	for _, p := range strings.Fields(v.params) {
		if rule, ok := strings.CutPrefix(p, "wrong="); ok {
			return rule
		}
	}
	return ""
}
