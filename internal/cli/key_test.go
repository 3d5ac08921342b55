package cli

import (
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
)

func TestKeyFlags(t *testing.T) {
	doc, err := parseDocument([]byte(`{"o":{"id":"A/1","n":10e2},"l":[{"x":true}],"":{"":"e"},"neg":-0.50}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		flags keyFlags
		want  onceguard.Key
	}{
		{"named", keyFlags{keys: []string{"order=A-1", "try=2"}}, onceguard.KeyOf("order", "A-1", "try", 2)},
		{"raw", keyFlags{keys: []string{"order-17"}}, onceguard.RawKey("order-17")},
		{"raw that has no name", keyFlags{keys: []string{"A=1"}}, onceguard.RawKey("A=1")},
		{"raw by its flag", keyFlags{raw: "order=1"}, onceguard.RawKey("order=1")},
		{"a value with = and ,", keyFlags{keys: []string{"t=a=b,c"}}, onceguard.KeyOf("t", "a=b,c")},
		{
			"pointers",
			keyFlags{from: []string{"/o/id", "n=/o/n", "/l/0/x", "e=//", "/neg"}},
			onceguard.KeyOf("o.id", "A/1", "n", 1000, "l.0.x", true, "e", "e", "neg", "-0.5"),
		},
		{"pointers beside parts", keyFlags{keys: []string{"try=2"}, from: []string{"id=/o/id"}}, onceguard.KeyOf("id", "A/1", "try", 2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.flags.key(doc)
			if err != nil {
				t.Fatal(err)
			}
			if got.Encoded() != c.want.Encoded() {
				t.Errorf("got %s, want %s", got.Encoded(), c.want.Encoded())
			}
		})
	}
}

func TestBadKeyFlags(t *testing.T) {
	doc, err := parseDocument([]byte(`{"a":[1],"s":""}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags keyFlags
		want  string
	}{
		{keyFlags{}, "there is no key"},
		{keyFlags{keys: []string{"a=1", "raw"}}, "stands alone"},
		{keyFlags{keys: []string{"raw"}, raw: "x"}, "stands alone"},
		{keyFlags{raw: "x", from: []string{"/a/0"}}, "stands alone"},
		{keyFlags{keys: []string{"a=1,b=2"}}, "several parts"},
		{keyFlags{from: []string{"/a/1"}}, "nothing at /a/1"},
		{keyFlags{from: []string{"/a/-"}}, "nothing at /a/-"},
		{keyFlags{from: []string{"x=/s"}}, "empty"},
		{keyFlags{from: []string{"x="}}, "does not begin with '/'"},
		{keyFlags{from: []string{"/a"}}, "an array"},
		{keyFlags{from: []string{"x=/"}}, "nothing at /"},
		{keyFlags{keys: []string{"k"}, issued: "now"}, "is not a time"},
	} {
		if _, err := c.flags.key(doc); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want it to say %q", c.flags, err, c.want)
		}
	}
}

// What a run's fingerprint covers is part of the stored identity.
func TestMeaning(t *testing.T) {
	doc, err := parseDocument([]byte(`{"b":1.0,"a":2}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "\x00\x00\x00\x00\x00\x00\x00\x0fonceguard/run/1" +
		"\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x00\x00\x00\x00\x00\x00\x01x" + "\x00\x00\x00\x00\x00\x00\x00\x02\xff " +
		"\x00\x00\x00\x00\x00\x00\x00\x0d" + `{"a":2,"b":1}`
	if got := string(meaning([]string{"x", "\xff "}, doc)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	seen := map[string]bool{}
	for _, argv := range [][]string{{"a b"}, {"a", "b"}, {"a", "b", ""}, {"ab"}, {"a", ""}, {"", "a"}} {
		m := string(meaning(argv, nil))
		if seen[m] {
			t.Errorf("%q shares its meaning with another command line", argv)
		}
		seen[m] = true
	}
}
