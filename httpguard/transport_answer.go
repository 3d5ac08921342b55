package httpguard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/onceguard/onceguard"
)

// gapIncomplete is a body that broke off after a status which says it all.
const gapIncomplete = "incomplete"

// Answer is a provider's response as a Lookup reports it, to be replayed to
// later callers.
type Answer struct {
	Status int
	Header http.Header // of it, a replay has those that a receipt keeps
	Body   []byte
}

// ResponseError is the response that left open whether the provider acted. It
// is the cause of an ErrUncertain, for errors.As.
type ResponseError struct {
	Status int
	Header http.Header
	Body   []byte // its beginning, at most 64 KiB
}

// Error says which status it was.
func (e *ResponseError) Error() string {
	s := fmt.Sprintf("the provider answered HTTP %d, which does not say whether it acted", e.Status)
	if e.Status >= 300 && e.Status < 400 {
		s += "; a redirect of a guarded write is not followed"
	}
	return s
}

// answers is the codec of guarded responses: that of the server side, which
// also reads the JSON of an Answer, as a reconcile lookup stores it.
var answers onceguard.Codec = answerCodec{}

type answerCodec struct{ responseCodec }

// Decode reads a response, or an Answer.
func (c answerCodec) Decode(data []byte, v any) error {
	p, ok := v.(*response)
	if !ok || len(data) == 0 || data[0] != '{' {
		return c.responseCodec.Decode(data, v)
	}
	var a Answer
	if err := json.Unmarshal(data, &a); err != nil {
		return err
	}
	if a.Status < 100 || a.Status > 999 {
		return fmt.Errorf("a lookup's answer has the status %d", a.Status)
	}
	*p = response{status: a.Status, body: a.Body}
	for name, values := range a.Header {
		p.fields = append(p.fields, field{http.CanonicalHeaderKey(name), values})
	}
	return nil
}

// storable picks the headers that a receipt keeps, sorted by name.
func (t *Transport) storable(h http.Header) []field {
	var fields []field
	for name, values := range h {
		if t.allowed[name] && !slices.ContainsFunc(values, unsafeValue) && !nominated(h, name) {
			fields = append(fields, field{name, slices.Clone(values)})
		}
	}
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return fields
}

// replay makes a response of a receipt.
func (t *Transport) replay(r *http.Request, receipt onceguard.Receipt[response]) (*http.Response, error) {
	p := receipt.Value
	if p.gap != "" {
		return nil, &onceguard.Error{
			Code: onceguard.ErrNoResult, RequestID: receipt.RequestID, State: receipt.State, Attempt: receipt.Attempt, Since: receipt.SettledAt,
			SettledBy: receipt.SettledBy, MayHaveRun: receipt.State == onceguard.Succeeded,
			Reason: fmt.Sprintf("the provider answered HTTP %d; its body was not kept: %s", p.status, p.gap),
		}
	}
	h := http.Header{}
	for _, f := range p.fields {
		if t.allowed[f.name] {
			h[f.name] = slices.Clone(f.values)
		}
	}
	h.Set(HeaderFromReceipt, "true")
	return &http.Response{
		Status: fmt.Sprintf("%d %s", p.status, http.StatusText(p.status)), StatusCode: p.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(bytes.NewReader(p.body)), ContentLength: int64(len(p.body)), Request: r,
	}, nil
}
