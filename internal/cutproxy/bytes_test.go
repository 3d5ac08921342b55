package cutproxy_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/cutproxy"
)

const (
	startup = "\x00\x00\x00\x08\x00\x03\x00\x00"
	query   = "Q\x00\x00\x00\x07go\x00"
	answer  = "C\x00\x00\x00\x0fINSERT 0 1\x00"
	ready   = "Z\x00\x00\x00\x05I"
)

// peer accepts one connection, answers its first Query with answer and ready,
// and reports all the bytes it got, and why they ended.
func peer(t *testing.T) (addr string, got <-chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	result := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			result <- "accept: " + err.Error()
			return
		}
		defer conn.Close()
		var all strings.Builder
		buf := make([]byte, 1024)
		for answered := false; ; {
			n, err := conn.Read(buf)
			all.Write(buf[:n])
			if !answered && all.Len() == len(startup)+len(query) {
				answered = true
				io.WriteString(conn, answer+ready)
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					all.WriteString("<" + err.Error() + ">")
				}
				result <- all.String()
				return
			}
		}
	}()
	return ln.Addr().String(), result
}

// TestByteExact cuts the streams of both directions after every single byte.
func TestByteExact(t *testing.T) {
	for n := int64(1); n < int64(len(startup+query)); n++ {
		addr, got := peer(t)
		p := cutproxy.New(t, addr)
		cut := p.Add(cutproxy.AtByte(cutproxy.ToServer, n, cutproxy.Close))
		conn := dial(t, p)
		io.WriteString(conn, startup+query)
		hit(t, cut)
		if s, want := <-got, (startup + query)[:n]; s != want {
			t.Errorf("cut after %d bytes: the server got %q, want %q", n, s, want)
		}
	}
	for n := int64(1); n < int64(len(answer+ready)); n++ {
		addr, got := peer(t)
		p := cutproxy.New(t, addr)
		cut := p.Add(cutproxy.AtByte(cutproxy.ToClient, n, cutproxy.Close))
		conn := dial(t, p)
		io.WriteString(conn, startup+query)
		back, err := io.ReadAll(conn)
		if s, want := string(back), (answer + ready)[:n]; err != nil || s != want {
			t.Errorf("cut after %d bytes: the client got %q, %v, want %q", n, s, err, want)
		}
		hit(t, cut)
		if s := <-got; s != startup+query {
			t.Errorf("the server got %q, want everything and end of file", s)
		}
	}
}

func TestResetAndClose(t *testing.T) {
	for name, tt := range map[string]struct {
		how  cutproxy.How
		want error
	}{
		"reset": {cutproxy.Reset, syscall.ECONNRESET},
		"close": {cutproxy.Close, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			addr, got := peer(t)
			p := cutproxy.New(t, addr)
			p.Add(cutproxy.Rule{When: cutproxy.Type(cutproxy.ToServer, 'Q'), Do: cutproxy.CutBefore(tt.how)})
			conn := dial(t, p)
			io.WriteString(conn, startup+query)
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, tt.want) {
				t.Errorf("the client read %v, want %v", err, tt.want)
			}
			if s := <-got; s != startup {
				t.Errorf("the server got %q, want the startup message and end of file", s)
			}
		})
	}
}

func TestRefusesEncryption(t *testing.T) {
	addr, got := peer(t)
	p := cutproxy.New(t, addr)
	conn := dial(t, p)
	for _, code := range []string{"\x2f", "\x30"} { // SSLRequest, GSSENCRequest
		io.WriteString(conn, "\x00\x00\x00\x08\x04\xd2\x16"+code)
		reply := make([]byte, 1)
		if _, err := io.ReadFull(conn, reply); err != nil || reply[0] != 'N' {
			t.Fatalf("answer %q, %v, want N", reply, err)
		}
	}
	io.WriteString(conn, startup)
	conn.Close()
	if s := <-got; s != startup {
		t.Errorf("the server got %q, want the startup message alone", s)
	}
}

func TestServerThatIsDown(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	p := cutproxy.New(t, ln.Addr().String())
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	// The reset may come as early as the dial.
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v, want ECONNRESET", err)
	}
}

func TestNotPostgres(t *testing.T) {
	addr, got := peer(t)
	p := cutproxy.New(t, addr)
	conn := dial(t, p)
	io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
	if s := <-got; s != "" {
		t.Errorf("the server got %q, want nothing", s)
	}
}

func TestRulesNeedBothHalves(t *testing.T) {
	addr, _ := peer(t)
	p := cutproxy.New(t, addr)
	for name, r := range map[string]cutproxy.Rule{
		"no When": {Do: cutproxy.BlackHole()},
		"no Do":   {When: cutproxy.Sends("x")},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			p.Add(r)
		})
	}
}

func dial(t *testing.T, p *cutproxy.Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn
}
