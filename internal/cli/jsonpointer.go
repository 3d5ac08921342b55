package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/onceguard/onceguard"
)

// document is a JSON input: the bytes as they came, the canonical form, and the
// tree that pointers walk, numbers kept as their exact text.
type document struct {
	raw       []byte
	canonical []byte
	tree      any
}

func parseDocument(raw []byte) (*document, error) {
	canonical, err := onceguard.CanonicalJSON(raw)
	if err != nil {
		return nil, err
	}
	d := &document{raw: raw, canonical: canonical}
	dec := json.NewDecoder(bytes.NewReader(canonical))
	dec.UseNumber()
	if err := dec.Decode(&d.tree); err != nil {
		return nil, err
	}
	return d, nil
}

// pointer walks an RFC 6901 pointer and returns the scalar's text: strings as
// they are, numbers in the canonical exact form, so that 1 and 1.0 are one.
func (d *document) pointer(p string) (string, error) {
	if !strings.HasPrefix(p, "/") {
		return "", fmt.Errorf("the JSON pointer %q does not begin with '/'", short(p, 60))
	}
	at := d.tree
	seen := ""
	for token := range strings.SplitSeq(p[1:], "/") {
		name, err := unescapeToken(token)
		if err != nil {
			return "", fmt.Errorf("the JSON pointer %q: %w", short(p, 60), err)
		}
		next, ok := step(at, name)
		if !ok {
			return "", fmt.Errorf("the input has nothing at %s (pointer %s)", place(seen+"/"+token), short(p, 60))
		}
		at, seen = next, seen+"/"+token
	}
	switch v := at.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case nil:
		return "", fmt.Errorf("the input has null at %s; a key part needs a value", place(p))
	case map[string]any:
		return "", fmt.Errorf("the input has an object at %s; point at a string, number or boolean in it", place(p))
	}
	return "", fmt.Errorf("the input has an array at %s; point at one of its elements", place(p))
}

func place(p string) string { return short(p, 60) }

func step(at any, name string) (any, bool) {
	switch v := at.(type) {
	case map[string]any:
		next, ok := v[name]
		return next, ok
	case []any:
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != name {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}

func unescapeToken(t string) (string, error) {
	for i := 0; i < len(t); i++ {
		if t[i] == '~' && (i+1 == len(t) || t[i+1] != '0' && t[i+1] != '1') {
			return "", fmt.Errorf("'~' is written ~0 and '/' inside a name ~1")
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~"), nil
}
