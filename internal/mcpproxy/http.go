package mcpproxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceguard/onceguard/internal/mcpwire"
	"github.com/onceguard/onceguard/internal/underway"
)

// HTTPOptions configure an HTTP proxy. Gate, Upstream, Principal and Log are
// required.
type HTTPOptions struct {
	Gate Gate
	// Upstream is the server's endpoint. A request for "/" goes there, and one
	// for another path to that path of the same host.
	Upstream *url.URL
	// Principal names the authenticated caller of a request, or says why it has
	// none; guarded calls are then refused.
	Principal func(*http.Request) (string, error)
	// Hosts are names besides localhost and addresses that requests may be for.
	Hosts []string
	// Origins are web origins besides those of this machine whose pages may call.
	Origins []string
	Log     *slog.Logger
	// Tools is told the result of each tools/list, as the server gave it.
	Tools func(result json.RawMessage)
}

// HTTP proxies streamable HTTP, of all revisions of the protocol. It is an
// http.Handler, safe for concurrent use.
type HTTP struct {
	HTTPOptions
	pass     *httputil.ReverseProxy
	transmit http.RoundTripper // for guarded calls
	running  underway.Count
	draining atomic.Bool
	streams  context.Context // ends the streams that have no end of their own
	cut      context.CancelFunc
	limit    int64
	held     atomic.Int64 // bytes of messages in memory

	told    *receivers
	mirrors *mirrors

	mu    sync.Mutex
	calls map[callKey]map[*httpCall]bool
	count int // of calls
}

// callKey names a call that a client may cancel. Ids of different sessions are
// the same numbers.
type callKey struct{ principal, session, id string }

const (
	dialTimeout       = 10 * time.Second
	tlsTimeout        = 10 * time.Second
	bodyTime          = time.Minute // how long a request's body may take to come
	maxResponseHeader = 256 << 10
	maxHeld           = 512 << 20 // bytes of messages that are in memory at a time
)

// NewHTTP makes the proxy.
func NewHTTP(o HTTPOptions) *HTTP {
	p := &HTTP{HTTPOptions: o, calls: make(map[callKey]map[*httpCall]bool), told: newReceivers(), mirrors: &mirrors{tools: make(map[string][]mirror)}, limit: mcpwire.InspectLimit}
	p.streams, p.cut = context.WithCancel(context.Background())
	dialer := &net.Dialer{Timeout: dialTimeout}
	once := &http.Transport{
		// A request goes out on a connection of its own: net/http sends it again
		// when a kept one turns out to be dead, and an HTTP/2 one by itself.
		DialContext: dialer.DialContext, TLSHandshakeTimeout: tlsTimeout, DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig:        &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(0), NextProtos: []string{"http/1.1"}},
		MaxResponseHeaderBytes: maxResponseHeader, Protocols: new(http.Protocols),
	}
	once.Protocols.SetHTTP1(true)
	p.transmit = once
	p.pass = p.newPass(&http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: tlsTimeout, DisableCompression: true, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: maxResponseHeader,
	})
	return p
}

// ServeHTTP implements http.Handler.
func (p *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !p.knownHost(r.Host):
		refuseHTTP(w, http.StatusForbidden, nil, textHost)
	case !p.knownOrigin(r.Header.Values("Origin")):
		refuseHTTP(w, http.StatusForbidden, nil, textOrigin)
	case r.Method == http.MethodConnect, !strings.HasPrefix(r.RequestURI, "/"):
		refuseHTTP(w, http.StatusBadRequest, nil, textForm)
	case r.Method == http.MethodPost:
		p.post(w, r)
	case r.Method == http.MethodGet:
		p.stream(w, r)
	default:
		p.pass.ServeHTTP(w, r)
	}
}

// knownHost keeps web pages out whose own name resolves to this proxy: they
// would send their name, and a browser would let them read the answers.
func (p *HTTP) knownHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || slices.Contains(p.Hosts, host) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// knownOrigin lets pages of this machine in, and those that were named.
func (p *HTTP) knownOrigin(values []string) bool {
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	if slices.Contains(p.Origins, values[0]) {
		return true
	}
	u, err := url.Parse(values[0])
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// stream passes a GET on: the server's own messages, which have no end.
func (p *HTTP) stream(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(p.streams, cancel)()
	p.pass.ServeHTTP(w, r.WithContext(ctx))
}

// address is where a request goes.
func (p *HTTP) address(in *url.URL) *url.URL {
	u := *p.Upstream
	if path := in.EscapedPath(); path != "/" && path != "" {
		u.Path, u.RawPath = in.Path, in.RawPath
	}
	if in.RawQuery != "" {
		u.RawQuery = in.RawQuery
	}
	return &u
}

// Serve answers on ln until ctx ends, and then drains: guarded calls are refused,
// streams end, and what runs is waited for up to drain. An error says what was
// still running; such calls may have happened, and their repeats are told so.
func (p *HTTP) Serve(ctx context.Context, ln net.Listener, drain time.Duration) error {
	srv := &http.Server{
		Handler: p, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-served:
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	p.draining.Store(true)
	p.cut()
	if err := srv.Shutdown(limit); err != nil {
		_ = srv.Close()
		failed = errors.Join(failed, errors.New("clients were cut off after the drain limit"))
	}
	select {
	case <-p.running.Idle():
	case <-limit.Done():
		failed = errors.Join(failed, errors.New("guarded calls were still running after the drain limit; they may have happened"))
	}
	return failed
}
