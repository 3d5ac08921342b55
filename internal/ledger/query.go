package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// pollTime is how long GET /progress waits before it answers with what there is.
const pollTime = 20 * time.Second

// problem is the body of every answer but success.
type problem struct {
	Code   string `json:"code"`
	Reason string `json:"reason,omitempty"`
}

type effectList struct {
	Count   int      `json:"count"`
	Effects []Effect `json:"effects"`
}

func (s *server) effect(id string) Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Backward(s.book.effects) { // the last one, as a rule
		if e.ID == id {
			return e
		}
	}
	return Effect{}
}

func (s *server) effects(w http.ResponseWriter, req *http.Request) {
	op := req.URL.Query().Get("op")
	list := effectList{Effects: []Effect{}}
	s.mu.Lock()
	for _, e := range s.book.effects {
		if op == "" || e.Op == op {
			list.Effects = append(list.Effects, e)
		}
	}
	s.mu.Unlock()
	list.Count = len(list.Effects)
	writeJSON(w, http.StatusOK, list)
}

// byKey tells the truth of this moment: a request that is held may still come.
func (s *server) byKey(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	e, ok := s.book.applied[req.PathValue("key")]
	s.mu.Unlock()
	if !ok {
		fail(w, http.StatusNotFound, "not-seen", "no effect with this key so far")
		return
	}
	writeJSON(w, http.StatusOK, e)
}

// void raises the mark of a key, and says in the same step whether an effect
// came before it. The mark never falls: a slow void that arrives late is
// answered with the mark in force.
func (s *server) void(w http.ResponseWriter, req *http.Request) {
	text := req.URL.Query().Get("through")
	through, err := strconv.ParseInt(text, 10, 64)
	if text == "" {
		through, err = math.MaxInt64, nil
	}
	if err != nil || through < 1 {
		fail(w, http.StatusBadRequest, "invalid", fmt.Sprintf("through is %q, want a whole number from 1", text))
		return
	}
	key := req.PathValue("key")
	out, err := s.raise(key, through)
	if err != nil {
		fail(w, http.StatusInternalServerError, "not-recorded", err.Error()+"; nothing was voided")
		return
	}
	writeJSON(w, http.StatusOK, out)
}

func (s *server) raise(key string, through int64) (Void, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if through > s.book.voided[key] {
		r := s.book.next(Record{Key: key, Through: through, Arrived: time.Now().UTC()})
		if err := s.enter(r); err != nil {
			return Void{}, err
		}
	}
	out := Void{Through: s.book.voided[key]}
	if e, ok := s.book.applied[key]; ok {
		out.Effect = &e
	}
	return out, nil
}

type modesRequest struct {
	Op    string `json:"op"` // empty: all ops without modes of their own
	Modes []Mode `json:"modes"`
}

func (s *server) modes(w http.ResponseWriter, req *http.Request) {
	var in modesRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	for n, m := range in.Modes {
		if err := m.check(); err != nil {
			fail(w, http.StatusBadRequest, "invalid", fmt.Sprintf("mode %d: %v", n+1, err))
			return
		}
	}
	s.mu.Lock()
	if in.Op != "" {
		o := s.op(in.Op)
		o.own, o.plan = true, plan{modes: in.Modes}
	} else {
		s.standard = in.Modes
		for _, o := range s.ops {
			if !o.own {
				o.plan = plan{modes: in.Modes}
			}
		}
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) release(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	o := s.op(req.PathValue("op"))
	close(o.release)
	o.release = make(chan struct{})
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// progressCount counts the requests of an op since the ledger was started.
type progressCount struct {
	Arrived int `json:"arrived"`
	Decided int `json:"decided"`
}

func (c progressCount) reached(want progressCount) bool {
	return c.Arrived >= want.Arrived && c.Decided >= want.Decided
}

func (s *server) progress(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	op := query.Get("op")
	arrived, err := strconv.Atoi(cmp.Or(query.Get("arrived"), "0"))
	decided, err2 := strconv.Atoi(cmp.Or(query.Get("decided"), "0"))
	if err != nil || err2 != nil || op == "" {
		fail(w, http.StatusBadRequest, "invalid", "want op, and arrived or decided as a whole number")
		return
	}
	want := progressCount{Arrived: arrived, Decided: decided}
	late := time.After(pollTime)
	for {
		s.mu.Lock()
		got, changed := progressCount{Arrived: s.op(op).arrived, Decided: s.op(op).decided}, s.changed
		s.mu.Unlock()
		if got.reached(want) {
			writeJSON(w, http.StatusOK, got)
			return
		}
		select {
		case <-changed:
		case <-late:
			writeJSON(w, http.StatusOK, got)
			return
		case <-req.Context().Done():
			return
		case <-s.done:
			hangUp()
		}
	}
}

func (s *server) summary(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	sum := Summary{Total: len(s.book.effects), Ops: maps.Clone(s.book.ops)}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, sum)
}

func (s *server) history(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	records := slices.Concat([]Record{}, s.book.records)
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, records)
}

func fail(w http.ResponseWriter, status int, code, reason string) {
	writeJSON(w, status, problem{Code: code, Reason: reason})
}

// writeJSON drops write errors: a client that has gone gets no answer.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
