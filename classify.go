package onceguard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync/atomic"
)

// Classifiers turn an effect's errors into NotExecuted or Refused where that is
// provable, and leave everything else unknown. They are opt-in, because only
// the author knows that the effect is one single call: an effect that already
// did something and then fails to dial has not "surely not happened".

// ClassifyDial marks failures to reach the other side at all (dial, DNS, TLS
// verification by us) as NotExecuted. Use it for an effect that opens one
// connection, sends one request and follows no redirects. A TLS alert from the
// peer stays unknown: TLS 1.3 clients send data before they hear of it.
func ClassifyDial(err error) error {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var host x509.HostnameError
	switch {
	case errors.As(err, &dns),
		errors.As(err, &op) && op.Op == "dial",
		errors.As(err, &cert), errors.As(err, &host),
		// Conn is set for the first record alone; a later broken one may come
		// after our request was sent.
		errors.As(err, &record) && record.Conn != nil:
		return NotExecuted(err)
	}
	return err
}

// StatusClass says what an HTTP status means for an effect.
type StatusClass uint8

// The classes.
const (
	StatusUnknown     StatusClass = iota // may have happened
	StatusSucceeded                      // 2xx
	StatusNotExecuted                    // refused before any work
	StatusRefused                        // refused for good
)

// ClassifyStatus is the conservative reading of a status code: 2xx succeeded;
// 4xx refused, except 408, 409 and 425, which are unknown; everything else
// unknown. beforeWork lists the codes that the provider documents as refused
// before any work, such as 401, 403, 404, 405, 407 and 429: those are not
// executed, so that a wrong API key does not burn every payment.
func ClassifyStatus(code int, beforeWork ...int) StatusClass {
	for _, c := range beforeWork {
		if c == code && code >= 400 && code < 500 {
			return StatusNotExecuted
		}
	}
	switch {
	case code >= 200 && code < 300:
		return StatusSucceeded
	case code == 408, code == 409, code == 425:
		return StatusUnknown
	case code >= 400 && code < 500:
		return StatusRefused
	}
	return StatusUnknown
}

// StatusError turns a status code into the error that an effect returns; nil
// for 2xx.
func StatusError(code int, beforeWork ...int) error {
	err := fmt.Errorf("the downstream answered HTTP %d", code)
	switch ClassifyStatus(code, beforeWork...) {
	case StatusSucceeded:
		return nil
	case StatusNotExecuted:
		return NotExecuted(err)
	case StatusRefused:
		return Refused(err)
	}
	return err
}

// WriteTrace notices whether net/http wrote any part of a request.
type WriteTrace struct{ wrote atomic.Bool }

// TraceWrites returns a context for one HTTP request, through net/http, and the
// trace that watches it.
func TraceWrites(ctx context.Context) (context.Context, *WriteTrace) {
	t := &WriteTrace{}
	mark := func() { t.wrote.Store(true) }
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaderField:     func(string, []string) { mark() },
		WroteHeaders:         mark,
		WroteRequest:         func(i httptrace.WroteRequestInfo) { mark() },
		GotFirstResponseByte: mark,
		Wait100Continue:      mark,
		Got100Continue:       mark,
	}), t
}

// Wrote reports whether a part of the request may have left the process.
func (t *WriteTrace) Wrote() bool { return t.wrote.Load() }

// Classify marks err as NotExecuted if no byte of the request was written, on
// any connection; it covers redirects and net/http's own re-sending.
func (t *WriteTrace) Classify(err error) error {
	if err == nil || t.Wrote() {
		return err
	}
	return NotExecuted(err)
}
