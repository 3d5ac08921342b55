//go:build unix

package mcpproxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Headers that repeat the message must repeat it, also where no server is asked.
func TestHTTPMirrors(t *testing.T) {
	gate := newFakeGate()
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(readAll(t, r), "tools/list") {
			_, _ = io.WriteString(w, `{"id":1,"result":{"tools":[{"name":"pay","inputSchema":{"properties":{"to":{"x-mcp-header":"To"},"o":{"properties":{"n":{"x-mcp-header":"N"}}},"b":{"x-mcp-header":"B"}}}}]}}`)
			return
		}
		_, _ = io.WriteString(w, `{"id":1,"result":{}}`)
	})
	s.answer(`{"id":1,"method":"tools/list"}`)
	call := `{"id":1,"method":"tools/call","params":{"name":"pay","arguments":{"to":"Zoë","o":{"n":10},"b":true}}}`
	good := []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "pay", "Mcp-Param-To", "=?base64?Wm/Dqw==?=", "Mcp-Param-N", "1e1", "Mcp-Param-B", "true"}
	for name, c := range map[string]struct {
		pairs []string
		ok    bool
	}{
		"right":         {nil, true},
		"old revision":  {[]string{"Mcp-Protocol-Version", "2025-11-25", "Mcp-Name", "other"}, true},
		"other method":  {[]string{"Mcp-Method", "tools/list"}, false},
		"no name":       {[]string{"Mcp-Name", ""}, false},
		"other text":    {[]string{"Mcp-Param-To", "Zoe"}, false},
		"no base64":     {[]string{"Mcp-Param-To", "=?base64?%%?="}, false},
		"no parameter":  {[]string{"Mcp-Param-To", ""}, false},
		"other number":  {[]string{"Mcp-Param-N", "11"}, false},
		"other boolean": {[]string{"Mcp-Param-B", "false"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, text := s.answer(call, append(append([]string(nil), good...), c.pairs...)...)
			if (status == 200) != c.ok || !c.ok && (status != 400 || !strings.Contains(text, "-32020")) {
				t.Errorf("got %d %s", status, text)
			}
		})
	}
	if status, _, _ := s.answer(strings.Replace(call, `"to":"Zoë",`, "", 1), good...); status != 400 {
		t.Errorf("a header without its argument got %d", status)
	}
}
