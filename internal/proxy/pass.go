package proxy

import (
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"time"
)

// newPass forwards what is not guarded, both ways as the bytes come.
func newPass(u *Upstream, logger *slog.Logger) http.Handler {
	reads := &http.Transport{
		DialContext: u.base.dial, DisableCompression: true, ForceAttemptHTTP2: true, TLSHandshakeTimeout: tlsTimeout,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: maxResponseHeader,
	}
	// A write goes out on a connection of its own: see forwarder.send.
	writes := &http.Transport{
		DialContext: u.base.dial, DisableCompression: true, TLSHandshakeTimeout: tlsTimeout, DisableKeepAlives: true,
		MaxResponseHeaderBytes: maxResponseHeader, Protocols: new(http.Protocols),
	}
	writes.Protocols.SetHTTP1(true)
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = u.base.address(pr.In.URL), ""
		},
		Transport:     byMethod{reads, writes},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // its lines hold addresses with queries
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			logger.WarnContext(r.Context(), "the upstream did not answer an unguarded request", "upstream", u.Name, "method", r.Method, "why", broken(err))
			answer(w, problemFailed)
		},
	}
}

type byMethod struct{ reads, writes http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b byMethod) RoundTrip(r *http.Request) (*http.Response, error) {
	if isRead(r.Method) {
		return b.reads.RoundTrip(r)
	}
	return b.writes.RoundTrip(r)
}

// isRead reports the methods that change nothing (RFC 9110, section 9.2.1).
func isRead(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}
