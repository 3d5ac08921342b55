package httpguard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// readRequest reads and closes the body of a guarded request.
func readRequest(r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return []byte{}, nil
	}
	defer closeBody(r)
	if r.ContentLength > limit {
		return nil, fmt.Errorf("the body of %s %s has %d bytes; MaxBody is %d; nothing was sent", r.Method, place(r), r.ContentLength, limit)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the body of %s %s: %w; nothing was sent", r.Method, place(r), err)
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("the body of %s %s is longer than MaxBody, %d bytes; nothing was sent", r.Method, place(r), limit)
	case r.ContentLength > 0 && int64(len(body)) != r.ContentLength:
		return nil, fmt.Errorf("the body of %s %s has %d bytes, its ContentLength says %d; nothing was sent", r.Method, place(r), len(body), r.ContentLength)
	}
	return body, nil
}

// meaning is what the fingerprint covers: a version tag, method, URL, the
// selected headers and the digest of the body; each after its length. A key that
// the caller's SDK put into the body is left out, it is replaced anyway.
func (r Rule) meaning(req *http.Request, body []byte) ([]byte, error) {
	part := body
	var err error
	switch {
	case r.Meaning != nil:
		part, err = r.Meaning(req, body)
	case r.Preset.Key.Value.In == InJSON:
		part, err = setJSON(body, r.Preset.Key.Value.Name, "")
	}
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(part)
	b := fieldBytes(make([]byte, 0, 256), "onceguard-http-client-1")
	b = fieldBytes(b, req.Method)
	b = fieldBytes(b, strings.ToLower(req.URL.Scheme+"://"+req.URL.Host))
	b = fieldBytes(b, req.URL.EscapedPath())
	b = fieldBytes(b, req.URL.RawQuery)
	headers := r.Headers
	if headers == nil {
		headers = []string{"Content-Type", "Content-Encoding"}
	}
	for _, name := range headers {
		values := req.Header.Values(name)
		b = fieldBytes(b, strings.ToLower(name))
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = fieldBytes(b, strings.Trim(v, " \t"))
		}
	}
	return append(b, digest[:]...), nil
}

// KeptRequest is what Rule.KeepRequest stores, for a Lookup to read from
// Query.Input. It holds no header but the one that says what the body is.
type KeptRequest struct {
	Method      string
	URL         string
	ContentType string
	Body        []byte
}

func keep(r *http.Request, body []byte) KeptRequest {
	u := *r.URL
	u.User = nil // credentials are never stored
	return KeptRequest{Method: r.Method, URL: u.String(), ContentType: r.Header.Get("Content-Type"), Body: body}
}

// outgoing is the request that is sent for one attempt. r is not changed.
//
// net/http sends a request again by itself on a broken kept-alive connection if
// it counts as idempotent: with an Idempotency-Key header, and a body that is
// empty or that GetBody gives again. Under at-most-once there is no GetBody, and
// for an empty body no header of that spelling: header names are not sensitive
// to case on the wire, while net/http looks for the canonical one.
func (r Rule) outgoing(ctx context.Context, req *http.Request, body []byte, downstream string) (*http.Request, error) {
	out := req.Clone(ctx)
	//lint:ignore SA1019 a caller's old way to cancel must not reach the effect either
	out.Cancel = nil
	out.Response = nil
	if out.Header == nil {
		out.Header = http.Header{}
	}
	body, err := r.Preset.place(out.Header, body, downstream, time.Now())
	if err != nil {
		return nil, onceguard.NotExecuted(err)
	}
	out.TransferEncoding, out.ContentLength = nil, int64(len(body))
	out.Body, out.GetBody = http.NoBody, nil
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	if r.repeats() {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		return out, nil
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := out.Header[name]; ok && len(body) == 0 {
			delete(out.Header, name)
			if len(values) > 0 {
				out.Header[strings.ToLower(name)] = values
			}
		}
	}
	return out, nil
}

// repeats reports whether an attempt may send the request more than once.
func (r Rule) repeats() bool {
	return r.Policy.Kind == onceguard.SafeRetryKind || r.Policy.Kind == onceguard.RerunKind
}

// setJSON returns a JSON object with the text at path, names joined by "/".
// Objects on the way are made. The values keep their text, numbers included.
func setJSON(body []byte, path, text string) ([]byte, error) {
	name, rest, deeper := strings.Cut(path, "/")
	object := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		return nil, fmt.Errorf("the provider takes its key in the JSON field %s, and the body is no JSON object there", path)
	}
	var value []byte
	var err error
	if deeper {
		inner := object[name]
		if len(inner) == 0 {
			inner = []byte("{}")
		}
		value, err = setJSON(inner, rest, text)
	} else {
		value, err = json.Marshal(text)
	}
	if err != nil {
		return nil, err
	}
	object[name] = value
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(object); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
