// Package jsonpointer reads JSON pointers (RFC 6901) and walks decoded documents
// with them.
package jsonpointer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Pointer is a parsed pointer: its tokens, unescaped. An empty one is the whole
// document.
type Pointer []string

// maxLen bounds a pointer's text, in bytes.
const maxLen = 512

// Parse reads a pointer's text, such as /lines/0/sku. The whole document, "", is
// refused, since nothing here needs it.
func Parse(s string) (Pointer, error) {
	if len(s) > maxLen {
		return nil, fmt.Errorf("a JSON pointer of %d bytes; at most %d are allowed", len(s), maxLen)
	}
	if !strings.HasPrefix(s, "/") {
		return nil, fmt.Errorf("the JSON pointer %.60q does not begin with '/'", s)
	}
	var p Pointer
	for token := range strings.SplitSeq(s[1:], "/") {
		for i := range len(token) {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return nil, fmt.Errorf("the JSON pointer %.60q: '~' is written ~0 and '/' inside a name ~1", s)
			}
		}
		p = append(p, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
	}
	return p, nil
}

// String is the pointer's text.
func (p Pointer) String() string {
	var b strings.Builder
	for _, token := range p {
		b.WriteString("/")
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// Find walks a document that encoding/json decoded into any.
func (p Pointer) Find(at any) (any, bool) {
	for _, token := range p {
		switch v := at.(type) {
		case map[string]any:
			next, ok := v[token]
			if !ok {
				return nil, false
			}
			at = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != token {
				return nil, false
			}
			at = v[i]
		default:
			return nil, false
		}
	}
	return at, true
}

// Scalar is the text of the string, number or boolean that p points at: strings
// as they are, numbers as the document has them (decode with UseNumber).
func (p Pointer) Scalar(doc any) (string, error) {
	at, ok := p.Find(doc)
	if !ok {
		return "", fmt.Errorf("there is nothing at %s", p)
	}
	switch v := at.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case nil:
		return "", fmt.Errorf("there is null at %s, where a value belongs", p)
	case map[string]any:
		return "", fmt.Errorf("there is an object at %s; point at a string, number or boolean in it", p)
	}
	return "", fmt.Errorf("there is an array at %s; point at one of its elements", p)
}

// Without returns the document without what p points at; maps and slices on the
// way are changed in place. Elements of arrays become null, so that the others
// keep their places.
func (p Pointer) Without(doc any) any {
	if len(p) == 0 {
		return nil
	}
	parent, ok := p[:len(p)-1].Find(doc)
	if !ok {
		return doc
	}
	last := p[len(p)-1]
	switch v := parent.(type) {
	case map[string]any:
		delete(v, last)
	case []any:
		if i, err := strconv.Atoi(last); err == nil && i >= 0 && i < len(v) && strconv.Itoa(i) == last {
			v[i] = nil
		}
	}
	return doc
}
