package httpguard_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
)

// newResetServer speaks just enough HTTP/2 (RFC 9113) to take requests, reset the
// first one's stream with code, answer later ones, and count them all. cert is whose certificate it shows.
func newResetServer(t *testing.T, cert *httptest.Server, code uint32) (addr string, arrived *atomic.Int64) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: cert.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	arrived = &atomic.Int64{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := make(chan struct{})
			wg.Go(func() {
				select {
				case <-t.Context().Done():
				case <-stop:
				}
				_ = c.Close()
			})
			wg.Go(func() {
				defer close(stop)
				resetStreams(c, code, arrived)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String(), arrived
}

func resetStreams(c net.Conn, code uint32, arrived *atomic.Int64) {
	const (
		headers, rst, settings = 1, 3, 4
		endStream, ack         = 1, 1
		endHeaders             = 4
	)
	frame := func(kind, flags byte, stream uint32, payload []byte) {
		b := []byte{0, 0, byte(len(payload)), kind, flags}
		b = binary.BigEndian.AppendUint32(b, stream)
		_, _ = c.Write(append(b, payload...))
	}
	if _, err := io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	frame(settings, 0, 0, nil)
	for {
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, c, size); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; {
		case kind == settings && flags&ack == 0:
			frame(settings, ack, 0, nil)
		case kind <= headers && flags&endStream != 0: // HEADERS or DATA, the last of a request
			stream := binary.BigEndian.Uint32(head[5:])
			if arrived.Add(1) == 1 {
				frame(rst, 0, stream, binary.BigEndian.AppendUint32(nil, code))
			} else {
				frame(headers, endStream|endHeaders, stream, []byte{0x88}) // RFC 7541: ":status: 200"
			}
		}
	}
}

// TestTransportNoResendHTTP2: net/http repeats a request without a body when its
// stream is reset with PROTOCOL_ERROR. A guarded one it must not.
func TestTransportNoResendHTTP2(t *testing.T) {
	const protocolError = 1
	cert := httptest.NewUnstartedServer(http.NotFoundHandler())
	cert.EnableHTTP2 = true
	cert.StartTLS()
	defer cert.Close()
	send := func(t *testing.T, rt http.RoundTripper, addr, body string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Payment-Key", "k")
		return rt.RoundTrip(r)
	}
	for _, body := range []string{"", "{}"} {
		base := func(t *testing.T) *http.Transport {
			b := cert.Client().Transport.(*http.Transport).Clone()
			t.Cleanup(b.CloseIdleConnections)
			return b
		}
		t.Run("plain net/http, body "+body, func(t *testing.T) {
			addr, arrived := newResetServer(t, cert, protocolError)
			resp, err := send(t, base(t), addr, body)
			drain(t, resp, err)
			if n := arrived.Load(); n != 2 {
				t.Errorf("%d requests arrived, want 2: net/http does not send again any more, and the guard's care is not needed", n)
			}
		})
		t.Run("guarded, body "+body, func(t *testing.T) {
			addr, arrived := newResetServer(t, cert, protocolError)
			tr := newTransport(t, func(tr *httpguard.Transport) { tr.Base = base(t) })
			for range 2 {
				if _, err := send(t, tr, addr, body); !errors.Is(err, onceguard.ErrUncertain) {
					t.Errorf("got %v", err)
				}
			}
			if n := arrived.Load(); n != 1 {
				t.Errorf("%d requests arrived, want 1", n)
			}
		})
		t.Run("safe-retry, body "+body, func(t *testing.T) {
			addr, arrived := newResetServer(t, cert, protocolError)
			tr := newTransport(t, func(tr *httpguard.Transport) {
				tr.Base, tr.Rules[0].Policy = base(t), onceguard.SafeRetry(time.Hour, onceguard.RefusalsForgotten)
			})
			resp, err := send(t, tr, addr, body)
			drain(t, resp, err)
			if n := arrived.Load(); n != 2 {
				t.Errorf("%d requests arrived, want 2", n)
			}
		})
	}
}
