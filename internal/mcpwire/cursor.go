package mcpwire

import (
	"bytes"
	"encoding/json"
	"strings"
)

// cursor walks over bytes that json.Valid has accepted, which spares it every
// check.
type cursor struct {
	b []byte
	i int
}

// peek skips white space and returns the next byte, 0 at the end.
func (c *cursor) peek() byte {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return c.b[c.i]
		}
	}
	return 0
}

// value returns the next value's bytes.
func (c *cursor) value() []byte {
	first := c.peek()
	start := c.i
	switch first {
	case '"':
		c.text()
	case '{', '[':
		depth := 0
		for {
			switch c.b[c.i] {
			case '"':
				c.text()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			c.i++
			if depth == 0 {
				break
			}
		}
	default:
		for c.i < len(c.b) && bytes.IndexByte([]byte(",]} \t\r\n"), c.b[c.i]) < 0 {
			c.i++
		}
	}
	return c.b[start:c.i]
}

// text skips a string.
func (c *cursor) text() {
	for c.i++; c.b[c.i] != '"'; c.i++ {
		if c.b[c.i] == '\\' {
			c.i++
		}
	}
	c.i++
}

// each calls f for every member of a valid object, or element of a valid array;
// name is nil in an array.
func each(b []byte, f func(name, value []byte)) {
	c := cursor{b: b}
	object := c.peek() == '{'
	for c.i++; ; c.i++ { // over the bracket, or the comma
		if next := c.peek(); next == '}' || next == ']' {
			return
		}
		var name []byte
		if object {
			name = c.value()
			c.peek()
			c.i++ // the colon
		}
		f(name, c.value())
		if c.peek() != ',' {
			return
		}
	}
}

// decoded is a JSON string's text.
func decoded(raw []byte) string {
	var s string
	_ = json.Unmarshal(raw, &s) // it is valid
	return s
}

// Sole returns the raw value of a member of a raw JSON object. It reports false
// where there is none, and where readers may disagree which one counts: it stands
// twice, or once more in other letters ("Name"), which some readers do not tell
// apart.
func Sole(b []byte, name string) ([]byte, bool) {
	if c := (cursor{b: b}); c.peek() != '{' || !json.Valid(b) {
		return nil, false
	}
	var value []byte
	n := 0
	each(b, func(at, v []byte) {
		if text := decoded(at); strings.EqualFold(text, name) {
			n++
			if text == name {
				value = v
			}
		}
	})
	return value, n == 1 && value != nil
}

// Text returns a raw JSON string's text, and whether it is one.
func Text(raw []byte) (string, bool) {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}
