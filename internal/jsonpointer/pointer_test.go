package jsonpointer

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func document(t *testing.T, text string) any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// The pointers of RFC 6901, section 5, which are not the whole document, and
// what must not be found.
func TestScalar(t *testing.T) {
	const text = `{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
		"yes":true,"nil":null,"deep":{"big":9007199254740993}}`
	for p, want := range map[string]string{
		"/foo/0": "bar", "/": "0", "/a~1b": "1", "/c%d": "2", "/e^f": "3", "/g|h": "4", `/i\j`: "5", `/k"l`: "6", "/ ": "7",
		"/m~0n": "8", "/yes": "true", "/deep/big": "9007199254740993",
		"/foo":        "array",
		"/deep":       "object",
		"/nil":        "null",
		"/foo/2":      "nothing",
		"/foo/-1":     "nothing",
		"/foo/01":     "nothing",
		"/foo/-":      "nothing",
		"/foo/0/more": "nothing",
		"/none":       "nothing",
	} {
		pointer, err := Parse(p)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		if pointer.String() != p {
			t.Errorf("%s is written as %s", p, pointer)
		}
		got, err := pointer.Scalar(document(t, text))
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && got != want {
			t.Errorf("%s: %q, %v; want %s", p, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, p := range []string{"", "a", "a/b", "#/a", "/~", "/a~2", "/" + strings.Repeat("x", maxLen)} {
		if got, err := Parse(p); err == nil {
			t.Errorf("%.20q is read as %v", p, got)
		}
	}
}

func TestWithout(t *testing.T) {
	for p, want := range map[string]string{
		"/a":     `{"b":[1,{"c":2}]}`,
		"/b/1/c": `{"a":0,"b":[1,{}]}`,
		"/b/0":   `{"a":0,"b":[null,{"c":2}]}`,
		"/b/2":   `{"a":0,"b":[1,{"c":2}]}`,
		"/x/y":   `{"a":0,"b":[1,{"c":2}]}`,
	} {
		pointer, err := Parse(p)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(document(t, want), pointer.Without(document(t, `{"a":0,"b":[1,{"c":2}]}`))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p, diff)
		}
	}
}
