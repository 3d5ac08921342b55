package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

// maxHold bounds Mode.Hold, so that a forgotten release does not keep a
// connection for ever.
const maxHold = 10 * time.Minute

// apply decides one request. The client going away changes nothing: what it has
// sent, the world has.
func (s *server) apply(w http.ResponseWriter, req *http.Request) {
	r, err := readRequest(w, req)
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	mode, released := s.arrive(r.Op)
	s.pause(mode.Slow)
	if mode.Hold {
		s.hold(released)
	}

	s.mu.Lock()
	r = s.book.decide(r, mode, time.Now())
	if err = s.enter(r); err == nil {
		s.op(r.Op).decided++
		s.announce()
	}
	s.mu.Unlock()
	if err != nil {
		fail(w, http.StatusInternalServerError, "not-recorded", err.Error()+"; there was no effect")
		return
	}

	if r.Decision == Died || mode.Die == After {
		os.Exit(DieStatus)
	}
	if mode.HoldAnswer {
		s.hold(released)
	}
	switch {
	case r.Decision == Dropped || mode.SwallowAnswer:
		hangUp()
	case mode.Error == After:
		fail(w, http.StatusInternalServerError, string(Failed), "internal error")
	default:
		s.answer(w, r, mode.AnswerTwice)
	}
}

func readRequest(w http.ResponseWriter, req *http.Request) (Record, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		return Record{}, fmt.Errorf("body: %w", err)
	}
	sum := sha256.Sum256(body)
	r := Record{
		Op: req.Header.Get(HeaderOp), Key: req.Header.Get(HeaderKey),
		Body: "sha256:" + hex.EncodeToString(sum[:]), Arrived: time.Now().UTC(),
	}
	if r.Op == "" {
		var named struct {
			Op string `json:"op"`
		}
		if json.Unmarshal(body, &named) == nil {
			r.Op = named.Op
		}
	}
	if r.Op == "" {
		return r, fmt.Errorf("no op: set the header %s, or \"op\" in a JSON body", HeaderOp)
	}
	for _, name := range []string{r.Op, r.Key} {
		if name == "." || name == ".." || name == "/" {
			return r, fmt.Errorf("%q cannot be part of a path, and so is no op or key", name)
		}
	}
	if text := req.Header.Get(HeaderAttempt); text != "" {
		if r.Attempt, err = strconv.ParseInt(text, 10, 64); err != nil || r.Attempt < 1 {
			return r, fmt.Errorf("%s is %q, want a whole number from 1", HeaderAttempt, text)
		}
	}
	return r, nil
}

// arrive counts a request and picks its mode and its release in one step: a
// release that follows the arrival always finds it.
func (s *server) arrive(name string) (Mode, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.op(name)
	o.arrived++
	s.announce()
	return o.plan.next(), o.release
}

// pause waits for d. If the server stops meanwhile the request ends there.
func (s *server) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-s.done:
		hangUp()
	}
}

func (s *server) hold(released <-chan struct{}) {
	select {
	case <-released:
	case <-s.done:
		hangUp()
	case <-time.After(maxHold):
		hangUp()
	}
}

// hangUp ends the handler and closes the connection without a response.
func hangUp() { panic(http.ErrAbortHandler) }

var statuses = map[Decision]int{
	Applied: http.StatusCreated, Refused: http.StatusPaymentRequired,
	Voided: http.StatusGone, Mismatch: http.StatusUnprocessableEntity, InProgress: http.StatusConflict,
	Failed: http.StatusInternalServerError,
}

func (s *server) answer(w http.ResponseWriter, r Record, twice bool) {
	w.Header().Set("Content-Type", "application/json")
	decision := r.Decision
	if decision == Dedup {
		w.Header().Set(HeaderReplayed, "true")
		if decision = Applied; r.Effect == "" {
			decision = Refused
		}
	}
	status := statuses[decision]
	var body any = problem{Code: string(decision), Reason: r.Reason}
	if decision == Applied {
		body = s.effect(r.Effect)
	}
	if twice {
		writeTwice(w, status, body)
		return
	}
	writeJSON(w, status, body)
}

// writeTwice sends one response two times on the same connection, then closes it.
func writeTwice(w http.ResponseWriter, status int, body any) {
	var text bytes.Buffer
	err := json.NewEncoder(&text).Encode(body)
	if err != nil {
		fail(w, http.StatusInternalServerError, "internal", err.Error())
		return
	}
	header := w.Header().Clone()
	header.Set("Content-Length", strconv.Itoa(text.Len()))
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, http.StatusInternalServerError, "internal", err.Error())
		return
	}
	for range 2 {
		_, _ = fmt.Fprintf(buf, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
		_ = header.Write(buf)
		_, _ = fmt.Fprintf(buf, "\r\n%s", text.Bytes())
	}
	// A client that has gone gets no answer, as with any other response.
	_ = errors.Join(buf.Flush(), conn.Close())
}
