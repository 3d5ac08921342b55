package proxy

import (
	"net/http"
	"time"

	"github.com/onceguard/onceguard/httpguard"
)

// seen notices what was answered, for the access log. Flushing and hijacking
// reach the connection through Unwrap.
type seen struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap is for http.ResponseController.
func (s *seen) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (s *seen) WriteHeader(status int) {
	if s.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *seen) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	n, err := s.ResponseWriter.Write(p)
	s.bytes += int64(n)
	return n, err
}

// access logs one request: nothing of its path, query, headers or body, which
// hold tokens and personal data in some APIs. Status 0 is a caller that had gone.
func (p *Proxy) access(r *http.Request, s *seen, u *served, route *Route, did string, took time.Duration) {
	attrs := []any{"did", did, "method", r.Method, "status", s.status, "bytes", s.bytes, "took", took.Round(time.Microsecond)}
	if u != nil {
		attrs = append(attrs, "upstream", u.Name)
	}
	if route != nil {
		attrs = append(attrs, "route", route.Path)
	}
	if did == "guarded" {
		attrs = append(attrs, "replayed", s.Header().Get(httpguard.HeaderReplayed) == "true")
	}
	if did == "passed" && !isRead(r.Method) {
		p.log.WarnContext(r.Context(), "a write was passed unguarded", attrs...)
		return
	}
	p.log.InfoContext(r.Context(), "request", attrs...)
}
