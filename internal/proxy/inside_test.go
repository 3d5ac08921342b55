package proxy

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

func TestReadPath(t *testing.T) {
	for _, tt := range []struct {
		path     string
		segments []string
		odd      bool
		bad      bool
	}{
		{path: "/"},
		{path: "/a/b", segments: []string{"a", "b"}},
		{path: "/a/b/", segments: []string{"a", "b"}},
		{path: "/a%20b/%61", segments: []string{"a b", "a"}},
		{path: "/a%2Fb", segments: []string{"a/b"}, odd: true},
		{path: "/a;v=1", segments: []string{"a;v=1"}, odd: true},
		{path: "/a%252fb", segments: []string{"a%2fb"}, odd: true},
		{path: "/a%3Fb", segments: []string{"a?b"}, odd: true},
		{path: "", bad: true},
		{path: "a", bad: true},
		{path: "//", bad: true},
		{path: "/a//b", bad: true},
		{path: "/a//", bad: true},
		{path: "/.", bad: true},
		{path: "/a/..", bad: true},
		{path: "/a/%2E%2e/b", bad: true},
		{path: "/a%2F..%2Fb", bad: true},
		{path: "/a%2F", bad: true},
		{path: "/a%5Cb", bad: true},
		{path: "/a%00", bad: true},
		{path: "/a%0d%0ab", bad: true},
		{path: "/a%zz", bad: true},
	} {
		t.Run(tt.path, func(t *testing.T) {
			got, err := readPath(tt.path)
			if (err != nil) != tt.bad {
				t.Fatalf("error %v, want one: %t", err, tt.bad)
			}
			if !tt.bad && (cmp.Diff(tt.segments, got.segments) != "" || got.odd != tt.odd) {
				t.Errorf("%q odd %t, want %q odd %t", got.segments, got.odd, tt.segments, tt.odd)
			}
		})
	}
}

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          map[string]string // nil: no match
	}{
		{"/", "/", map[string]string{}},
		{"/", "/a", nil},
		{"/a/{id}", "/a/7", map[string]string{"id": "7"}},
		{"/a/{id}", "/a/7/", map[string]string{"id": "7"}},
		{"/a/{id}", "/a", nil},
		{"/a/{id}", "/a/7/b", nil},
		{"/a/{id}", "/A/7", nil},
		{"/a/{id}/b", "/a/x%2Fy/b", map[string]string{"id": "x/y"}},
		{"/a/{rest...}", "/a/b/c", map[string]string{"rest": "b/c"}},
		{"/a/{rest...}", "/a", map[string]string{"rest": ""}},
		{"/a/{rest...}", "/b", nil},
		{"/{all...}", "/", map[string]string{"all": ""}},
	} {
		t.Run(tt.pattern+" "+tt.path, func(t *testing.T) {
			p, err := parsePattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			path, err := readPath(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := p.match(path)
			if ok != (tt.want != nil) || ok && cmp.Diff(tt.want, got) != "" {
				t.Errorf("%v %t, want %v", got, ok, tt.want)
			}
		})
	}
}

func TestPermits(t *testing.T) {
	for _, tt := range []struct {
		ip              string
		public, private bool // allowed for a target of that kind
	}{
		{"93.184.216.34", true, true},
		{"2606:2800:220:1::1", true, true},
		{"127.0.0.1", false, true},
		{"::1", false, true},
		{"10.1.2.3", false, true},
		{"172.16.0.1", false, true},
		{"192.168.0.1", false, true},
		{"100.64.0.1", false, true},
		{"fd00::1", false, true},
		{"::ffff:10.1.2.3", false, true},
		{"64:ff9b::a01:203", false, true},
		{"169.254.169.254", false, false},
		{"::ffff:169.254.169.254", false, false},
		{"fe80::1", false, false},
		{"fd00:ec2::254", false, false},
		{"0.0.0.0", false, false},
		{"::", false, false},
		{"224.0.0.1", false, false},
	} {
		t.Run(tt.ip, func(t *testing.T) {
			ip := netip.MustParseAddr(tt.ip)
			if got := (target{}).permits(ip) == nil; got != tt.public {
				t.Errorf("public target: %t, want %t", got, tt.public)
			}
			if got := (target{private: true}).permits(ip) == nil; got != tt.private {
				t.Errorf("private target: %t, want %t", got, tt.private)
			}
		})
	}
}

// TestDialChecksTheAddress: a name that turns out to be private is not dialled.
func TestDialChecksTheAddress(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	u, err := url.Parse("http://" + strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := target{url: *u}.connect(t.Context(), nil)
	if err == nil {
		_ = conn.Close()
		t.Fatal("a name at a loopback address was dialled")
	}
	if !strings.Contains(err.Error(), "private address") || onceguard.ClassifyDial(err) == err {
		t.Errorf("%v: not a failure to dial", err)
	}
	conn, err = target{url: *u, private: true}.connect(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// countConn counts what is written.
type countConn struct {
	net.Conn
	wrote int
}

func (c *countConn) Write(p []byte) (int, error) {
	c.wrote += len(p)
	return len(p), nil
}

// TestFence: a lease that ended while the connection was made stops the request
// before its first byte; later it stops nothing.
func TestFence(t *testing.T) {
	t.Run("over", func(t *testing.T) {
		under := &countConn{}
		f := &fence{ready: func() error { return onceguard.NotExecuted(onceguard.ErrLeaseLost) }}
		for range 2 {
			if _, err := (fencedConn{under, f}).Write([]byte("POST")); !errors.Is(err, onceguard.ErrLeaseLost) {
				t.Errorf("error %v", err)
			}
		}
		if under.wrote != 0 || !f.refused.Load() {
			t.Errorf("%d bytes were written", under.wrote)
		}
	})
	t.Run("held", func(t *testing.T) {
		under, asked := &countConn{}, 0
		f := &fence{ready: func() error { asked++; return nil }}
		for range 3 {
			if _, err := (fencedConn{under, f}).Write([]byte("POST")); err != nil {
				t.Error(err)
			}
		}
		if under.wrote != 12 || asked != 1 {
			t.Errorf("%d bytes, asked %d times", under.wrote, asked)
		}
	})
}

// TestTransmitAsksTheFence: the connection is there, the lease is not any more.
func TestTransmitAsksTheFence(t *testing.T) {
	reached := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} }))
	defer srv.Close()
	base, err := parseTarget(srv.URL, false)
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{upstream: &Upstream{base: base}}
	request := func() *http.Request {
		out, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	resp, err := f.transmit(request(), func() error { return onceguard.NotExecuted(onceguard.ErrLeaseLost) })
	if err == nil {
		_ = resp.Body.Close()
	}
	var surely notSent
	if !errors.As(err, &surely) || !errors.Is(err, onceguard.ErrLeaseLost) || len(reached) != 0 {
		t.Errorf("%v, %d requests reached the upstream", err, len(reached))
	}
	resp, err = f.transmit(request(), func() error { return nil })
	if err != nil || len(reached) != 1 {
		t.Fatalf("%v, %d requests reached the upstream", err, len(reached))
	}
	_ = resp.Body.Close()
}

func TestBrokenSaysNothingOfTheUpstream(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New(`malformed HTTP response "secret-canary"`), "its answer could not be read"},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "read failed"},
	} {
		if got := broken(tt.err); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestProblemsDocumented: docs/proxy.md has every problem of the proxy's with
// its status.
func TestProblemsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.SplitSeq(string(page), "\n") {
		if strings.HasPrefix(line, "| `proxy-") {
			rows++
		}
	}
	if rows != len(problems) {
		t.Errorf("%d rows for %d problems", rows, len(problems))
	}
	for name, p := range problems {
		if !strings.Contains(string(page), "| `"+name+"` | "+strconv.Itoa(p.Status)+" |") {
			t.Errorf("docs/proxy.md has no row for %s, %d", name, p.Status)
		}
	}
}
