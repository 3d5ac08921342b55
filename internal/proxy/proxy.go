package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
)

// Proxy is an http.Handler that guards and forwards as its configuration says.
// It is safe for concurrent use.
type Proxy struct {
	guard     *onceguard.Guard
	config    *Config
	log       *slog.Logger
	hosts     map[string]bool
	upstreams []*served
	draining  atomic.Bool
}

// served is an upstream with its handlers.
type served struct {
	*Upstream
	pass     http.Handler
	guarded  []http.Handler // beside Routes; nil where a route passes
	guarding []*httpguard.Middleware
}

// New makes the proxy of a configuration that Load has checked. What a guard
// refuses (a lease too short, headers that must not be stored) is found here.
func New(g *onceguard.Guard, c *Config, logger *slog.Logger) (*Proxy, error) {
	p := &Proxy{guard: g, config: c, log: logger, hosts: map[string]bool{"localhost": true}}
	for _, h := range c.Hosts {
		p.hosts[h] = true
	}
	for i := range c.Upstreams {
		u := &served{Upstream: &c.Upstreams[i]}
		u.pass = newPass(u.Upstream, logger)
		if u.Host != "" {
			p.hosts[u.Host] = true
		}
		for j := range u.Routes {
			h, m, err := p.route(u, &u.Routes[j])
			if err != nil {
				return nil, fmt.Errorf("upstreams[%d].routes[%d] %q: %w", i, j, u.Routes[j].Path, err)
			}
			u.guarded = append(u.guarded, h)
			if m != nil {
				u.guarding = append(u.guarding, m)
			}
		}
		p.upstreams = append(p.upstreams, u)
	}
	return p, nil
}

func (p *Proxy) route(u *served, r *Route) (http.Handler, *httpguard.Middleware, error) {
	if r.Pass {
		return nil, nil, nil
	}
	o := httpguard.Options{
		Action: r.Action, Scope: p.scope, Principal: u.principal, AllowMissing: r.KeyOptional, Methods: r.Methods,
		Headers: r.FingerprintHeaders, MaxBody: int64(r.MaxBody), Policy: r.policy, Limits: r.limits(),
		// The caller's end is not the effect's: a retry collects the answer.
		EarlyReturn: true,
		MaxResponse: int(r.MaxResponse), StoreHeaders: r.StoreHeaders, ProblemBody: withError, Logger: p.log,
	}
	if !plainKey(r.Key) {
		o.Key = keyReader(r.Key).read
	}
	m, err := httpguard.New(p.guard, o)
	if err != nil {
		return nil, nil, err
	}
	return m.Wrap(&forwarder{upstream: u.Upstream, route: r, sessions: tls.NewLRUClientSessionCache(0), pass: u.pass, draining: &p.draining}), m, nil
}

// scope is the configured one, or that of the authenticated header.
func (p *Proxy) scope(r *http.Request) (string, error) {
	if p.config.ScopeHeader == "" {
		return p.config.Scope, nil
	}
	scope, err := oneOf(r.Header.Values(p.config.ScopeHeader))
	if err != nil {
		return "", fmt.Errorf("the header %s, which holds the authenticated scope, is %w", p.config.ScopeHeader, err)
	}
	return scope, nil
}

// principal is part of what a request means: the upstream, and the caller's
// credential where answers belong to it. It is a digest, and enters the
// fingerprint alone.
func (u *Upstream) principal(r *http.Request) string {
	sum := sha256.New()
	write := func(s string) { fmt.Fprintf(sum, "%d:%s", len(s), s) }
	write(u.Name)
	if u.Callers == byCredential {
		for _, v := range r.Header.Values(u.CredentialHeader) {
			write(v)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Drain waits for guarded requests whose callers have gone, until ctx ends.
// Nothing new is forwarded any more.
func (p *Proxy) Drain(ctx context.Context) error {
	p.draining.Store(true)
	var failed []error
	for _, u := range p.upstreams {
		for _, m := range u.guarding {
			failed = append(failed, m.Drain(ctx))
		}
	}
	return errors.Join(failed...)
}
