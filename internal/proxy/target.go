package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// target is where an upstream's requests go. Nothing in a request changes it.
type target struct {
	url     url.URL // scheme, host and the path before the request's
	private bool    // may be at a private or loopback address
}

const (
	dialTimeout = 10 * time.Second
	tlsTimeout  = 10 * time.Second
)

func parseTarget(text string, allowPrivate bool) (target, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return target{}, errors.New("base_url is not a URL") // the parser's error would repeat it, with what may be in it
	case u.User != nil:
		return target{}, errors.New("base_url holds a user or password; callers send their own credentials, and none belong in the configuration")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Hostname() == "":
		return target{}, fmt.Errorf("base_url is %.80q; write https://HOST or http://HOST:PORT, with a path where the API has one", text)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return target{}, errors.New("base_url has a query or a fragment; every request brings its own")
	}
	if path := strings.TrimSuffix(u.EscapedPath(), "/"); path != "" {
		if _, err := readPath(path); err != nil {
			return target{}, fmt.Errorf("base_url: %w", err)
		}
	}
	t := target{url: url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/"), RawPath: strings.TrimSuffix(u.EscapedPath(), "/")}, private: allowPrivate}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		t.private = true
		if err := t.permits(ip); err != nil {
			return target{}, fmt.Errorf("base_url: %w", err)
		}
	} else if u.Hostname() == "localhost" {
		t.private = true
	}
	if u.Scheme == "http" && !t.private {
		return target{}, errors.New("base_url is plain http: credentials would travel in the clear; use https, or say `allow_private: true` for a network of your own")
	}
	return t, nil
}

// permits checks an address that a name resolved to, against names that point
// into networks which the configuration does not mean, and metadata services.
func (t target) permits(ip netip.Addr) error {
	ip = ip.Unmap()
	switch {
	case !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), ip == metadataV6:
		return fmt.Errorf("the address %s is never forwarded to (link-local, metadata, multicast or unspecified)", ip)
	case !t.private && (ip.IsPrivate() || ip.IsLoopback() || sharedV4.Contains(ip) || nat64.Contains(ip)):
		return fmt.Errorf("the upstream's name resolves to the private address %s; say `allow_private: true` if that is meant", ip)
	}
	return nil
}

var (
	metadataV6 = netip.MustParseAddr("fd00:ec2::254")   // AWS instance metadata over IPv6
	sharedV4   = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	nat64      = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052: IPv4 addresses inside
)

// dial connects to the target alone, and checks the very address that is
// dialled: a name cannot change between check and use.
func (t target) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return t.permits(at.Addr())
	}}
	return d.DialContext(ctx, network, addr)
}

// connect is dial, and TLS where the target has it. HTTP/1.1 alone is offered:
// an HTTP/2 transport sends requests again by itself.
func (t target) connect(ctx context.Context, sessions tls.ClientSessionCache) (net.Conn, error) {
	port := t.url.Port()
	if port == "" {
		port = t.url.Scheme // "http" and "https" are names of ports
	}
	conn, err := t.dial(ctx, "tcp", net.JoinHostPort(t.url.Hostname(), port))
	if err != nil || t.url.Scheme != "https" {
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	secure := tls.Client(conn, &tls.Config{
		ServerName: t.url.Hostname(), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, ClientSessionCache: sessions,
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// address is the target's URL for a request's path and query.
func (t target) address(in *url.URL) *url.URL {
	u := t.url
	u.Path += in.Path
	u.RawPath += in.EscapedPath()
	u.RawQuery = in.RawQuery
	return &u
}
