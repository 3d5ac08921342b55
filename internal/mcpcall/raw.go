package mcpcall

import (
	"encoding/json"
	"strconv"
)

// span is one member of a raw JSON object: where its name begins, and its value.
type span struct {
	name            string
	start, from, to int
}

// members lists the members of a valid JSON object, and where its last brace
// stands; ok is false for any other value. Bytes stay as they are: what the
// client or the upstream sent is edited at these places and nowhere else.
func members(b []byte) (list []span, last int, ok bool) {
	i := blank(b, 0)
	if i == len(b) || b[i] != '{' {
		return nil, 0, false
	}
	i = blank(b, i+1)
	for b[i] != '}' {
		m := span{start: i}
		i = skip(b, i)
		if json.Unmarshal(b[m.start:i], &m.name) != nil {
			return nil, 0, false
		}
		i = blank(b, blank(b, i)+1) // over the colon
		m.from = i
		i = skip(b, i)
		m.to = i
		list = append(list, m)
		if i = blank(b, i); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
	return list, i, true
}

// elements lists the raw elements of a valid JSON array, and where its last
// bracket stands.
func elements(b []byte) (list []span, last int, ok bool) {
	i := blank(b, 0)
	if i == len(b) || b[i] != '[' {
		return nil, 0, false
	}
	i = blank(b, i+1)
	for b[i] != ']' {
		m := span{start: i, from: i}
		i = skip(b, i)
		m.to = i
		list = append(list, m)
		if i = blank(b, i); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
	return list, i, true
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skip returns the place after the value at i of a valid document.
func skip(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // after a number or a literal
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// field is the raw value of an object's member, nil where there is none.
func field(obj []byte, path ...string) json.RawMessage {
	for _, name := range path {
		list, _, ok := members(obj)
		if !ok {
			return nil
		}
		var found []byte
		for _, m := range list {
			if m.name == name {
				found = obj[m.from:m.to]
			}
		}
		if obj = found; found == nil {
			return nil
		}
	}
	return obj
}

// text is a raw string's value, and whether it is one.
func text(raw json.RawMessage) (s string, ok bool) {
	ok = len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil
	return s, ok
}

// put returns the document with a member set, objects on the way made where
// they are missing; a nil value removes the member. ok is false where something
// on the way is no object.
func put(doc []byte, path []string, value []byte) (out []byte, ok bool) {
	list, last, ok := members(doc)
	if !ok || len(path) == 0 {
		return doc, false
	}
	for i, m := range list {
		if m.name != path[0] {
			continue
		}
		switch {
		case len(path) > 1:
			inner, ok := put(doc[m.from:m.to], path[1:], value)
			if !ok {
				return doc, false
			}
			return splice(doc, m.from, m.to, inner), true
		case value != nil:
			return splice(doc, m.from, m.to, value), true
		case i > 0:
			return splice(doc, list[i-1].to, m.to, nil), true
		case len(list) > 1:
			return splice(doc, m.start, list[1].start, nil), true
		}
		return splice(doc, m.start, m.to, nil), true
	}
	if value == nil {
		return doc, true
	}
	for i := len(path) - 1; i > 0; i-- {
		value = []byte("{" + quote(path[i]) + ":" + string(value) + "}")
	}
	added := quote(path[0]) + ":" + string(value)
	if len(list) > 0 {
		last = list[len(list)-1].to
		added = "," + added
	}
	return splice(doc, last, last, []byte(added)), true
}

func splice(doc []byte, from, to int, in []byte) []byte {
	out := make([]byte, 0, len(doc)-(to-from)+len(in))
	return append(append(append(out, doc[:from]...), in...), doc[to:]...)
}

// quote is a JSON string of text that is valid UTF-8.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s) // strings always marshal
	}
	return string(b)
}

// compact encodes a value of ours without HTML escapes' cost in readability.
func compact(v any) json.RawMessage {
	var b buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return json.RawMessage("null") // our own types always encode
	}
	return json.RawMessage(b[:len(b)-1])
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
