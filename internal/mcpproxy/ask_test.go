//go:build unix

package mcpproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/mcpwire"
)

// A server is asked in its revision: with a handshake and a session, or without
// either; all its pages come, from documents and from streams.
func TestListHTTP(t *testing.T) {
	for name, c := range map[string]struct{ modern, events bool }{"session": {}, "stream": {events: true}, "no handshake": {modern: true}} {
		t.Run(name, func(t *testing.T) {
			greeted := false
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				m := mcpwire.Parse([]byte(readAll(t, r)))
				if r.Header.Get("Authorization") != "Bearer x" {
					t.Errorf("%s came without the credential", m.Method)
				}
				cursor, _ := mcpwire.Sole(m.Params, "cursor")
				_, meta := mcpwire.Sole(m.Params, "_meta")
				result := ""
				switch {
				case m.Method == "initialize" && c.modern:
					w.WriteHeader(http.StatusBadRequest)
					_, _ = fmt.Fprintf(w, `{"id":%s,"error":{"code":-32022,"message":"unsupported"}}`, m.ID)
					return
				case m.Method == "initialize":
					w.Header().Set("Mcp-Session-Id", "S")
					result = `{"protocolVersion":"2025-11-25"}`
				case m.Method == "notifications/initialized":
					greeted = r.Header.Get("Mcp-Session-Id") == "S"
					w.WriteHeader(http.StatusAccepted)
					return
				case meta != c.modern, greeted == c.modern, (r.Header.Get("Mcp-Protocol-Version") == revisionNew) != c.modern:
					t.Errorf("asked for the list by %s with %v", m.Raw, r.Header)
				case cursor == nil:
					result = `{"tools":[1],"nextCursor":"p2"}`
				case string(cursor) == `"p2"`:
					result = `{"tools":[2],"nextCursor":""}`
				}
				answer := fmt.Sprintf(`{"id":%s,"result":%s}`, m.ID, result)
				if c.events {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = io.WriteString(w, ": hi\n\ndata: {\"method\":\"m\"}\n\ndata: "+answer+"\n\n")
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, answer)
			}))
			defer srv.Close()
			at, err := url.Parse(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ListHTTP(t.Context(), at, http.Header{"Authorization": {"Bearer x"}})
			if diff := cmp.Diff([]json.RawMessage{json.RawMessage(`{"tools":[1],"nextCursor":"p2"}`), json.RawMessage(`{"tools":[2],"nextCursor":""}`)}, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestListHTTPFails(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"credential": {401, "", "--authorization-file"},
		"refused":    {404, "", "HTTP 404"},
		"broken":     {500, "", "HTTP 500"},
		"an error":   {200, `{"id":1,"error":{"code":1,"message":"go\naway"}}`, `"go\naway"`},
		"endless":    {200, `{"id":ID,"result":{"nextCursor":"again"}}`, "pages of tools"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				m := mcpwire.Parse([]byte(readAll(t, r)))
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, strings.ReplaceAll(c.body, "ID", string(m.ID)))
			}))
			defer srv.Close()
			at, err := url.Parse(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ListHTTP(t.Context(), at, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A server that does not answer is ended when the time is over.
func TestListStdioTime(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("time is over")
	go cancel(cause)
	_, err := ListStdio(ctx, []string{os.Args[0]}, append(os.Environ(), envServer+"=mute"), os.Stderr)
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}
