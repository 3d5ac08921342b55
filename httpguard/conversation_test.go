package httpguard_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the conversations in testdata")

// conversation records what went over the wire, in a form that people read.
// Lines that a client sent begin with "> ", those of the server with "< ".
type conversation struct {
	t    *testing.T
	addr string
	text strings.Builder
}

// converse starts a conversation with the server at addr. At the end of the test
// it must equal testdata/NAME.http.
func converse(t *testing.T, addr, name string) *conversation {
	t.Helper()
	c := &conversation{t: t, addr: addr}
	t.Cleanup(func() {
		if t.Failed() {
			return // a conversation that broke off says nothing
		}
		path := filepath.Join("testdata", name+".http")
		got := c.text.String()
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; go test -run %s -update shows how\n%s", path, t.Name(), lineDiff(string(want), got))
		}
	})
	return c
}

// reply is a response as it came.
type reply struct {
	status int
	header http.Header
	body   string
	raw    string
}

// open is a request that was sent and not answered yet.
type open struct {
	c       *conversation
	title   string
	request string
	conn    net.Conn
	raw     bytes.Buffer
}

// send sends a request on a connection of its own. headers are lines; the body's
// length is added.
func (c *conversation) send(title, line, body string, headers ...string) *open {
	c.t.Helper()
	conn, err := net.DialTimeout("tcp", c.addr, 5*time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	lines := append([]string{line + " HTTP/1.1", "Host: api.example"}, headers...)
	if body != "" {
		lines = append(lines, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body)))
	}
	request := strings.Join(lines, "\r\n") + "\r\n\r\n" + body
	if _, err := io.WriteString(conn, request); err != nil {
		c.t.Fatal(err)
	}
	return &open{c: c, title: title, request: request, conn: conn}
}

// hangUp closes the connection without reading the answer.
func (o *open) hangUp() {
	_ = o.conn.Close()
	o.c.write(o.title, o.request, "(the client hangs up)\r\n")
}

// answer reads the response and records the exchange.
func (o *open) answer() reply {
	o.c.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(o.conn, &o.raw)), nil)
	if err != nil {
		o.c.t.Fatalf("%s: %v, after %q", o.title, err, o.raw.String())
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.c.t.Fatalf("%s: %v, after %q", o.title, err, o.raw.String())
	}
	_ = o.conn.Close()
	o.c.write(o.title, o.request, o.raw.String())
	return reply{resp.StatusCode, resp.Header, string(body), o.raw.String()}
}

// ask is send and answer.
func (c *conversation) ask(title, line, body string, headers ...string) reply {
	c.t.Helper()
	return c.send(title, line, body, headers...).answer()
}

// note records something that happened outside of the wire.
func (c *conversation) note(format string, args ...any) {
	fmt.Fprintf(&c.text, "# "+format+"\n\n", args...)
}

func (c *conversation) write(title, request, response string) {
	fmt.Fprintf(&c.text, "# %s\n", title)
	marked(&c.text, "> ", request)
	marked(&c.text, "< ", scrub(response))
	c.text.WriteString("\n")
}

func marked(b *strings.Builder, mark, text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\r\n")) {
		b.WriteString(strings.TrimRight(mark+strings.TrimRight(line, "\r\n"), " ") + "\n")
	}
}

var scrubs = []struct {
	find *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?m)^Date: .*$`), "Date: DATE\r"},
	{regexp.MustCompile(`"\d{4}-\d\d-\d\dT[\d:.]+Z"`), `"TIME"`},
	// What remains of a lease of 60 s that was renewed less than 15 s ago.
	{regexp.MustCompile(`(?m)^Retry-After: (4[5-9]|5\d|60)\r$`), "Retry-After: LEASE\r"},
}

// scrub replaces what differs from run to run.
func scrub(s string) string {
	for _, x := range scrubs {
		s = x.find.ReplaceAllString(s, x.with)
	}
	return s
}

func lineDiff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, a, b)
		}
	}
	return ""
}
