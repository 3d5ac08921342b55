package mcpproxy

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/textproto"
	"strings"
	"sync"

	"github.com/onceguard/onceguard/internal/mcpwire"
)

// From revision 2026-07-28 on, headers repeat parts of the message, and a server
// must refuse a call whose headers say something else (SEP-2243). A guarded call
// may be answered without the server, so the proxy refuses as the server would.
const (
	headerRevision = "Mcp-Protocol-Version"
	headerMethod   = "Mcp-Method"
	headerName     = "Mcp-Name"
	headerParam    = "Mcp-Param-"

	codeHeaderMismatch = -32020
)

// mirrors knows which arguments of tools are repeated in headers, from the
// schemas in the server's lists of tools. Of tools that were not listed yet it
// knows nothing; then the server alone judges.
type mirrors struct {
	mu    sync.Mutex
	tools map[string][]mirror
}

// mirror is an argument and the header that repeats it.
type mirror struct {
	path   []string
	header string
}

// maxMirrored bounds the tools that are known, and the depth of their schemas.
const (
	maxMirrored    = 10_000
	maxMirrorDepth = 8
)

// learn reads the result of a tools/list.
func (m *mirrors) learn(list json.RawMessage) {
	var page struct {
		Tools []struct {
			Name  string          `json:"name"`
			Input json.RawMessage `json:"inputSchema"`
		} `json:"tools"`
	}
	if json.Unmarshal(list, &page) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range page.Tools {
		found := mirrored(t.Input, nil)
		if len(found) > 0 && len(m.tools) < maxMirrored {
			m.tools[t.Name] = found
		} else {
			delete(m.tools, t.Name)
		}
	}
}

func mirrored(schema json.RawMessage, above []string) (found []mirror) {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if len(above) == maxMirrorDepth || json.Unmarshal(schema, &s) != nil {
		return nil
	}
	for name, property := range s.Properties {
		path := append(append([]string(nil), above...), name)
		if raw, ok := mcpwire.Sole(property, "x-mcp-header"); ok {
			if header, ok := mcpwire.Text(raw); ok && header != "" {
				found = append(found, mirror{path, textproto.CanonicalMIMEHeaderKey(headerParam + header)})
			}
		}
		found = append(found, mirrored(property, path)...)
	}
	return found
}

// mismatch says what is wrong with the headers of a call, or nothing.
func (m *mirrors) mismatch(h http.Header, call *mcpwire.Message, tool string) string {
	if v := h.Get(headerRevision); v < revisionNew {
		return ""
	}
	for name, want := range map[string]string{headerMethod: call.Method, headerName: tool} {
		if got := h.Values(name); len(got) != 1 || plainHeader(got[0]) != want {
			return "the header " + name + " does not say what the message says"
		}
	}
	m.mu.Lock()
	known := m.tools[tool]
	m.mu.Unlock()
	arguments, _ := mcpwire.Sole(call.Params, "arguments")
	for _, k := range known {
		value := arguments
		for _, name := range k.path {
			value, _ = mcpwire.Sole(value, name)
		}
		got := h[k.header]
		absent := value == nil || string(value) == "null"
		if absent && len(got) == 0 || !absent && len(got) == 1 && repeats(got[0], value) {
			continue
		}
		return "the header " + k.header + " does not say what the argument says"
	}
	return ""
}

// repeats reports whether a header says what a raw value does: a string's text,
// true, false, or an integer in any spelling.
func repeats(header string, value []byte) bool {
	header = plainHeader(header)
	if text, ok := mcpwire.Text(value); ok {
		return header == text
	}
	if s := string(value); s == "true" || s == "false" {
		return header == s
	}
	return value[0] != '{' && value[0] != '[' && mcpwire.IDKey([]byte(header)) == mcpwire.IDKey(value)
}

// plainHeader undoes the encoding of values that no header can hold.
func plainHeader(v string) string {
	inner, ok := strings.CutPrefix(v, "=?base64?")
	if inner, ended := strings.CutSuffix(inner, "?="); ok && ended {
		if b, err := base64.StdEncoding.DecodeString(inner); err == nil {
			return string(b)
		}
		return "\x00" // equals nothing
	}
	return v
}
