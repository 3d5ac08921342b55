package httpguard

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
)

// errTooLarge is a body over the limit.
var errTooLarge = errors.New("body too large")

// readBody reads the whole body into memory, hashing it on the way, and puts
// back one that the handler can read. A body over the limit is refused without
// having been read where its length was announced.
func (m *Middleware) readBody(w http.ResponseWriter, r *http.Request) (body []byte, digest [32]byte, err error) {
	if r.ContentLength > m.opts.MaxBody {
		// The rest is unread: the connection cannot be used again.
		w.Header().Set("Connection", "close")
		return nil, digest, errTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return []byte{}, sha256.Sum256(nil), nil
	}
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	sum := sha256.New()
	_, err = buf.ReadFrom(io.TeeReader(http.MaxBytesReader(w, r.Body, m.opts.MaxBody), sum))
	if err != nil {
		var over *http.MaxBytesError
		if errors.As(err, &over) {
			err = errTooLarge
		}
		return nil, digest, err
	}
	sum.Sum(digest[:0])
	return buf.Bytes(), digest, nil
}

// meaning is what the fingerprint covers: a version tag, method, path and query
// as sent, the principal, the selected headers, and the body's digest; each after
// its length, so that no two requests share a form.
func (m *Middleware) meaning(r *http.Request, body []byte, digest [32]byte) ([]byte, error) {
	if m.opts.Meaning != nil {
		part, err := m.opts.Meaning(r, body)
		if err != nil {
			return nil, err
		}
		digest = sha256.Sum256(part)
	}
	b := fieldBytes(make([]byte, 0, 256), "onceguard-http-1")
	b = fieldBytes(b, r.Method)
	b = fieldBytes(b, r.URL.EscapedPath())
	b = fieldBytes(b, r.URL.RawQuery)
	principal := ""
	if m.opts.Principal != nil {
		principal = m.opts.Principal(r)
	}
	b = fieldBytes(b, principal)
	for _, name := range m.opts.Headers {
		values := r.Header.Values(name)
		b = fieldBytes(b, strings.ToLower(name))
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = fieldBytes(b, strings.Trim(v, " \t"))
		}
	}
	return append(b, digest[:]...), nil
}

func fieldBytes(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
