package httpverify

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Unique, in a body, is replaced by a text that differs for every intention.
const Unique = "{unique}"

// Target is what is tried.
type Target struct {
	URL       string
	Method    string // default POST
	Header    http.Header
	Body      string // of a request that the target accepts
	OtherBody string // another one, for the same key; default: Body with one more member, or one more space
	KeyHeader string // default Idempotency-Key
	// CountURL answers GET with the number of effects so far, as text or, where
	// CountField is set, in that member of a JSON object.
	CountURL, CountField string
	Parallel             int           // duplicates at once; default 8
	Timeout              time.Duration // of one answer; default 30 s
	// Owned is the host that the caller may try although it is not loopback.
	Owned string
}

const maxAnswer = 4 << 20

func (t *Target) fill() error {
	if t.Method == "" {
		t.Method = http.MethodPost
	}
	if t.KeyHeader == "" {
		t.KeyHeader = "Idempotency-Key"
	}
	if t.Parallel == 0 {
		t.Parallel = 8
	}
	if t.Timeout == 0 {
		t.Timeout = 30 * time.Second
	}
	if t.Parallel < 2 || t.Parallel > 64 {
		return fmt.Errorf("%d duplicates at once; use 2 to 64", t.Parallel)
	}
	if t.OtherBody == "" {
		t.OtherBody = otherBody(t.Body)
	}
	if err := t.allowed(t.URL); err != nil || t.CountURL == "" {
		return err
	}
	return t.allowed(t.CountURL)
}

// otherBody changes what a body means.
func otherBody(body string) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &fields) == nil && fields != nil {
		fields["onceguard_verify"] = json.RawMessage(`"another request"`)
		if b, err := json.Marshal(fields); err == nil {
			return string(b)
		}
	}
	return body + " "
}

// allowed refuses targets that nobody has said to own: this program causes
// effects. Of names only localhost counts as loopback.
func (t *Target) allowed(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("%q is not an http or https URL without credentials", text)
	}
	host := u.Hostname()
	if t.Owned != "" && strings.EqualFold(t.Owned, host) {
		return nil
	}
	if strings.EqualFold(host, "localhost") {
		return nil // the dialer checks what it becomes
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s is not a loopback address; this causes effects at its target: name the host with --i-own-this-target %s if it is yours", host, host)
}

// answer is one response, or why there is none.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (a answer) ok() bool { return a.err == nil && a.status >= 200 && a.status < 300 }

func (a answer) String() string {
	if a.err != nil {
		return "no answer"
	}
	return strconv.Itoa(a.status)
}

// client sends each request once, on a connection of its own, and follows nothing.
func (t *Target) client() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{
		Timeout:       t.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, addr)
				if err != nil || t.Owned != "" {
					return conn, err
				}
				if at, perr := netip.ParseAddrPort(conn.RemoteAddr().String()); perr != nil || !at.Addr().Unmap().IsLoopback() {
					_ = conn.Close()
					return nil, errors.New("the target's name is not a loopback address")
				}
				return conn, nil
			},
		},
	}
}

// intention is one operation that somebody wants once: its key and its bodies.
type intention struct{ key, body, other string }

func (t *Target) intention() intention {
	id := "verify-" + strings.ToLower(rand.Text())
	return intention{id, strings.ReplaceAll(t.Body, Unique, id), strings.ReplaceAll(t.OtherBody, Unique, id)}
}

func (t *Target) request(ctx context.Context, body string, keys ...string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, t.Method, t.URL, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.GetBody = nil // net/http must not send it again
	for name, values := range t.Header {
		req.Header[name] = values
	}
	if req.Header.Get("Content-Type") == "" && json.Valid([]byte(body)) {
		req.Header.Set("Content-Type", "application/json")
	}
	if len(keys) > 0 {
		req.Header[http.CanonicalHeaderKey(t.KeyHeader)] = keys
	}
	return req, nil
}

func (t *Target) send(ctx context.Context, body string, keys ...string) answer {
	req, err := t.request(ctx, body, keys...)
	if err != nil {
		return answer{err: err}
	}
	return t.do(req)
}

func (t *Target) do(req *http.Request) answer {
	resp, err := t.client().Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer{resp.StatusCode, resp.Header, string(text), err}
}

// count asks how many effects there were; ok is false where nobody tells.
func (t *Target) count(ctx context.Context) (n int, ok bool, err error) {
	if t.CountURL == "" {
		return 0, false, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.CountURL, nil)
	if err != nil {
		return 0, false, err
	}
	a := t.do(req)
	if !a.ok() {
		return 0, false, fmt.Errorf("the count of effects: %s %v", a, a.err)
	}
	text := strings.TrimSpace(a.body)
	if t.CountField != "" {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			return 0, false, fmt.Errorf("the count of effects is no JSON object: %w", err)
		}
		text = string(fields[t.CountField])
	}
	if n, err = strconv.Atoi(text); err != nil {
		return 0, false, fmt.Errorf("the count of effects is not a number: %q", text)
	}
	return n, true, nil
}
