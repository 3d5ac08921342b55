package mcpwire

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// Kind says what a message is.
type Kind uint8

// The kinds of messages.
const (
	Invalid      Kind = iota // no JSON, or no JSON-RPC message
	Request                  // has a method and an id
	Notification             // has a method and no id
	Response                 // has a result or an error
	Batch                    // an array of messages (MCP 2025-03-26 alone)
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Request:
		return "request"
	case Notification:
		return "notification"
	case Response:
		return "response"
	case Batch:
		return "batch"
	}
	return "invalid"
}

// Message is one JSON-RPC message. Its slices are parts of Raw, byte for byte;
// nil is an absent member.
type Message struct {
	Kind   Kind
	Raw    []byte // as it came, with the white space around it
	ID     []byte // raw: 7, 9007199254740993, 1.5, "a", null
	Method string // decoded
	Params []byte // raw
	Result []byte // raw
	Error  []byte // raw

	// Members of a batch, in order. A member that is no message is Invalid.
	Members []Message

	// Ambiguous says that readers may disagree about the message: a member of
	// the envelope stands twice, or once more in other letters ("Method"). Which
	// of them counts is the reader's choice, so Methods has all.
	Ambiguous bool
	Methods   []string
}

// Parse reads a message. It never fails: what is no message is Invalid, with its
// bytes. The slices of the answer are slices of b.
func Parse(b []byte) Message {
	m := Message{Raw: b}
	if !json.Valid(b) {
		return m
	}
	switch s := (cursor{b: b}); s.peek() {
	case '{':
		m.object()
	case '[':
		m.array()
	}
	return m
}

func (m *Message) array() {
	m.Kind = Batch
	each(m.Raw, func(_, value []byte) {
		member := Message{Raw: value}
		if value[0] == '{' {
			member.object()
		}
		m.Members = append(m.Members, member)
		m.Ambiguous = m.Ambiguous || member.Ambiguous
		m.Methods = append(m.Methods, member.Methods...)
	})
}

// object reads the envelope of what is known to be a JSON object.
func (m *Message) object() {
	var id, method, params, result, failed slot
	each(m.Raw, func(name, value []byte) {
		text := decoded(name)
		var at *slot
		switch strings.ToLower(text) {
		case "id":
			at = &id
		case "method":
			at = &method
			if value[0] == '"' {
				m.Methods = append(m.Methods, decoded(value))
			}
		case "params":
			at = &params
		case "result":
			at = &result
		case "error":
			at = &failed
		default:
			return
		}
		at.put(text, value)
	})
	m.ID, m.Params, m.Result, m.Error = id.value, params.value, result.value, failed.value
	for _, s := range []slot{id, method, params, result, failed} {
		m.Ambiguous = m.Ambiguous || s.odd
	}
	named := method.value != nil && method.value[0] == '"'
	if named {
		m.Method = decoded(method.value)
	}
	switch {
	case named && m.ID != nil:
		m.Kind = Request
	case named:
		m.Kind = Notification
	case m.Result != nil || m.Error != nil:
		m.Kind = Response
	}
}

// slot is one member of an envelope. The last of two counts, as in most readers.
type slot struct {
	value []byte
	odd   bool
}

func (s *slot) put(name string, value []byte) {
	exact := name == strings.ToLower(name)
	if s.value != nil || !exact {
		s.odd = true
	}
	if exact {
		s.value = value
	}
}

// Calls reports whether a message, or a member of a batch, may be a request of
// method to any reader: also where Parse found no message at all, which a more
// lenient reader might still take for one or more.
func (m *Message) Calls(method string) bool {
	for _, name := range m.Methods {
		if name == method {
			return true
		}
	}
	return m.Kind == Invalid && mentions(m.Raw, method)
}

// mentions looks for a method's name in bytes that are no message, also where
// escapes spell it.
func mentions(b []byte, method string) bool {
	if bytes.IndexByte(b, '\\') < 0 {
		return bytes.Contains(b, []byte(method))
	}
	plain := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch rest := b[i:]; {
		case bytes.HasPrefix(rest, []byte(`\/`)):
			plain = append(plain, '/')
			i++
		case bytes.HasPrefix(rest, []byte(`\u00`)) && len(rest) >= 6:
			c, err := strconv.ParseUint(string(rest[4:6]), 16, 8)
			if err != nil {
				plain = append(plain, b[i])
				continue
			}
			plain = append(plain, byte(c))
			i += 5
		default:
			plain = append(plain, b[i])
		}
	}
	return bytes.Contains(plain, []byte(method))
}
