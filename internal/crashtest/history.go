package crashtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Kinds of history lines.
const (
	Invoke = "invoke" // a call begins
	Return = "return" // it ended; a missing one means that it never did
	Start  = "start"  // an effect begins
	Sent   = "sent"   // its request is about to leave
	End    = "end"    // the ledger's answer, or none
	Saw    = "event"  // the guard's observer was told
	Asked  = "asked"  // a lookup, a sweep or a prune ended
)

// Line is one line of a history: what a process did or was told, written
// before and after, so that a kill leaves the first half.
type Line struct {
	At       time.Time `json:"at"`
	PID      int       `json:"pid"`
	Kind     string    `json:"kind"`
	N        int64     `json:"n,omitempty"` // number of the call in its process
	Op       string    `json:"op,omitempty"`
	Request  string    `json:"request,omitempty"`
	Policy   string    `json:"policy,omitempty"`
	Told     string    `json:"told,omitempty"`  // "receipt" or the error's code
	Value    string    `json:"value,omitempty"` // the receipt's value, as JSON
	Effect   string    `json:"effect,omitempty"`
	Attempt  int64     `json:"attempt,omitempty"`
	Replayed bool      `json:"replayed,omitempty"`
	MayRun   bool      `json:"may_have_run,omitempty"`
	By       string    `json:"by,omitempty"`
	Event    string    `json:"event,omitempty"`
	Change   string    `json:"change,omitempty"` // the transition
	Text     string    `json:"text,omitempty"`
}

// Receipt is what Line.Told says of a success.
const Receipt = "receipt"

// History appends lines to a file. Each is one write: what a process wrote
// before it was killed is there.
type History struct {
	mu sync.Mutex
	f  *os.File
}

// OpenHistory opens or makes a history.
func OpenHistory(path string) (*History, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &History{f: f}, nil
}

// Add appends a line and fills in time and process. A history that cannot be
// written is no history: the process ends.
func (h *History) Add(l Line) {
	l.At, l.PID = time.Now(), os.Getpid()
	data, err := json.Marshal(l)
	if err == nil {
		h.mu.Lock()
		_, err = h.f.Write(append(data, '\n'))
		h.mu.Unlock()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "history:", err)
		os.Exit(3)
	}
}

// ReadHistory returns the whole lines of a history; none if there is no file.
func ReadHistory(path string) ([]Line, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var lines []Line
	for text := range bytes.Lines(data) {
		if !bytes.HasSuffix(text, []byte("\n")) {
			break // the kill came in between
		}
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("history %s: %w", path, err)
		}
		lines = append(lines, l)
	}
	return lines, nil
}
