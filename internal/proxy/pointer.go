package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/onceguard/onceguard"
)

// document reads a JSON body in its canonical form, so that 1 and 1.0 are one
// value and numbers are exact; bodies that readers could take differently
// (duplicate names, lone surrogates) are refused.
func document(body []byte) (any, error) {
	canonical, err := onceguard.CanonicalJSON(body)
	if err != nil {
		return nil, errors.New("the body is not JSON that everyone reads alike (syntax, duplicate names, encoding), which this key is read from")
	}
	dec := json.NewDecoder(bytes.NewReader(canonical))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, errors.New("the body is not JSON, which this key is read from")
	}
	return doc, nil
}

// pointerTokens splits an RFC 6901 pointer.
func pointerTokens(p string) ([]string, error) {
	rest, ok := strings.CutPrefix(p, "/")
	if !ok {
		return nil, fmt.Errorf("json: the pointer %.60q does not begin with '/'", p)
	}
	tokens := strings.Split(rest, "/")
	for i, t := range tokens {
		for j := range len(t) {
			if t[j] == '~' && (j+1 == len(t) || t[j+1] != '0' && t[j+1] != '1') {
				return nil, fmt.Errorf("json: the pointer %.60q: '~' is written ~0, and '/' inside a name ~1", p)
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	return tokens, nil
}

// pointerValue returns the text of the scalar at p.
func pointerValue(doc any, p string) (string, error) {
	tokens, err := pointerTokens(p)
	if err != nil {
		return "", err
	}
	for _, t := range tokens {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[t]
			if !ok {
				return "", errNoPart
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(t)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != t {
				return "", errNoPart
			}
			doc = v[i]
		default:
			return "", errNoPart
		}
	}
	switch v := doc.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case nil:
		return "", errNoPart
	}
	return "", errors.New("not a string, number or boolean")
}
