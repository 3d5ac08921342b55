package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Client talks to a ledger. It sends every request once, on a connection of its
// own, and never again. Safe for several goroutines.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client for the address that Config.Ready was given.
func NewClient(addr string) *Client {
	// net/http repeats a request with an Idempotency-Key when a kept connection
	// turns out dead; without kept connections it never does.
	return &Client{base: "http://" + addr, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// Request asks for an effect. Op is required.
type Request struct {
	Op      string
	Key     string // sent as Idempotency-Key
	Attempt int64  // sent as Onceguard-Attempt unless 0
	Body    []byte
}

// Answer is a success: the effect, and whether it was made by an earlier request.
type Answer struct {
	Effect
	Replayed bool
}

// Error is an answer that is not a success. Every other error of a Client means
// that there was no answer, or none that could be read.
type Error struct {
	Status int    // of HTTP
	Code   string // a Decision, or "invalid", "not-seen", "not-recorded"
	Reason string
}

// Error returns status, code and reason.
func (e *Error) Error() string {
	return fmt.Sprintf("ledger: %d %s: %s", e.Status, e.Code, e.Reason)
}

// Apply asks for an effect. Without an *Error the effect may have been applied.
func (c *Client) Apply(ctx context.Context, r Request) (Answer, error) {
	header := http.Header{HeaderOp: {r.Op}}
	if r.Key != "" {
		header.Set(HeaderKey, r.Key)
	}
	if r.Attempt != 0 {
		header.Set(HeaderAttempt, strconv.FormatInt(r.Attempt, 10))
	}
	var a Answer
	got, err := c.do(ctx, http.MethodPost, "/effects", header, r.Body, &a.Effect)
	if err != nil {
		return Answer{}, err
	}
	a.Replayed = got.Get(HeaderReplayed) == "true"
	return a, nil
}

// Effects returns the applied effects of op in order, of all ops if op is "".
func (c *Client) Effects(ctx context.Context, op string) ([]Effect, error) {
	var list effectList
	err := c.get(ctx, "/effects?"+url.Values{"op": {op}}.Encode(), &list)
	return list.Effects, err
}

// Count returns the number of applied effects of op.
func (c *Client) Count(ctx context.Context, op string) (int, error) {
	s, err := c.Summary(ctx)
	return s.Ops[op], err
}

// Total returns the number of applied effects.
func (c *Client) Total(ctx context.Context) (int, error) {
	s, err := c.Summary(ctx)
	return s.Total, err
}

// Summary returns the applied effects per op; see Summary.Duplicates.
func (c *Client) Summary(ctx context.Context) (Summary, error) {
	var s Summary
	err := c.get(ctx, "/summary", &s)
	return s, err
}

// History returns every record, in the order of the decisions.
func (c *Client) History(ctx context.Context) ([]Record, error) {
	var records []Record
	err := c.get(ctx, "/history", &records)
	return records, err
}

// ByKey returns the latest applied effect with key. Not found means not seen so
// far: a request may still be on its way.
func (c *Client) ByKey(ctx context.Context, key string) (e Effect, found bool, err error) {
	err = c.get(ctx, "/effects/by-key/"+url.PathEscape(key), &e)
	var answer *Error
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return Effect{}, false, nil
	}
	return e, err == nil, err
}

// Void is the answer to Client.Void.
type Void struct {
	Through int64   `json:"through"`          // the mark in force, perhaps higher than asked for
	Effect  *Effect `json:"effect,omitempty"` // the latest effect that came before it, nil for none
}

// Void makes sure that no request with key and an attempt up to through, or
// without one, is applied from now on. Later attempts are not touched.
func (c *Client) Void(ctx context.Context, key string, through int64) (Void, error) {
	var v Void
	path := "/void/" + url.PathEscape(key) + "?through=" + strconv.FormatInt(through, 10)
	_, err := c.do(ctx, http.MethodPost, path, nil, nil, &v)
	return v, err
}

// Modes sets how the requests of op are treated from now on, or of all ops
// without modes of their own if op is "": the first as modes[0] says, and so on;
// the last mode stays in force. No modes at all are the zero Mode.
func (c *Client) Modes(ctx context.Context, op string, modes ...Mode) error {
	body, err := json.Marshal(modesRequest{Op: op, Modes: modes})
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	_, err = c.do(ctx, http.MethodPost, "/modes", nil, body, nil)
	return err
}

// Release lets go every request of op that has arrived and is held.
func (c *Client) Release(ctx context.Context, op string) error {
	_, err := c.do(ctx, http.MethodPost, "/release/"+url.PathEscape(op), nil, nil, nil)
	return err
}

// WaitArrived returns when n requests of op have arrived since the ledger was
// started, decided or not, or when ctx ends.
func (c *Client) WaitArrived(ctx context.Context, op string, n int) error {
	return c.wait(ctx, op, progressCount{Arrived: n})
}

// WaitDecided returns when n requests of op have been decided since the ledger
// was started, answered or not, or when ctx ends.
func (c *Client) WaitDecided(ctx context.Context, op string, n int) error {
	return c.wait(ctx, op, progressCount{Decided: n})
}

func (c *Client) wait(ctx context.Context, op string, want progressCount) error {
	query := url.Values{
		"op": {op}, "arrived": {strconv.Itoa(want.Arrived)}, "decided": {strconv.Itoa(want.Decided)},
	}.Encode()
	for {
		var got progressCount
		if err := c.get(ctx, "/progress?"+query, &got); err != nil {
			return err
		}
		if got.reached(want) {
			return nil
		}
	}
}

func (c *Client) get(ctx context.Context, path string, out any) error {
	_, err := c.do(ctx, http.MethodGet, path, nil, nil, out)
	return err
}

func (c *Client) do(ctx context.Context, method, path string, header http.Header, body []byte, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	for name, values := range header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ledger: answer %s: %w", resp.Status, err)
	}
	if resp.StatusCode >= 300 {
		var p problem
		if err := json.Unmarshal(data, &p); err != nil {
			p = problem{Code: "unreadable", Reason: err.Error()}
		}
		return nil, &Error{Status: resp.StatusCode, Code: p.Code, Reason: p.Reason}
	}
	if out == nil {
		return resp.Header, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("ledger: answer %s: %w", resp.Status, err)
	}
	return resp.Header, nil
}
