package mcpwire

import (
	"bytes"
	"encoding/json"
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

// Member returns the raw value of a member of a raw JSON object, the last of
// several, and how many there are; letters count. It returns nil and 0 where b is
// no object or has no such member.
func Member(b []byte, name string) (value []byte, n int) {
	if c := (cursor{b: b}); c.peek() != '{' || !json.Valid(b) {
		return nil, 0
	}
	each(b, func(at, v []byte) {
		if decoded(at) == name {
			value = v
			n++
		}
	})
	return value, n
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
