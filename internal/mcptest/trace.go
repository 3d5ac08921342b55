package mcptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// What a trace line tells of.
const (
	Started   = "started"   // the server runs, with Pid
	Received  = "received"  // a message arrived, or a batch; others may follow for what is in it
	Called    = "called"    // a tools/call arrived
	Applied   = "applied"   // its effect is in the ledger
	Answered  = "answered"  // its answer was written, whoever reads it
	Cancelled = "cancelled" // the client said so, or its connection ended
	Got       = "got"       // any other method arrived
)

// Line is one line of a tool server's trace.
type Line struct {
	What   string          `json:"what"`
	Pid    int             `json:"pid"`
	Tool   string          `json:"tool,omitempty"`
	Method string          `json:"method,omitempty"`
	ID     json.RawMessage `json:"id,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Raw    string          `json:"raw,omitempty"` // of Received: the message, byte for byte
}

// Tracer appends lines to a file. Safe for several goroutines.
type Tracer struct {
	mu   sync.Mutex
	file *os.File
}

// OpenTrace opens a trace for appending. Without a name nothing is traced.
func OpenTrace(name string) (*Tracer, error) {
	if name == "" {
		return &Tracer{}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("mcptest: %w", err)
	}
	return &Tracer{file: f}, nil
}

// Write appends a line; the process ID is filled in.
func (tr *Tracer) Write(l Line) error {
	if tr.file == nil {
		return nil
	}
	l.Pid = os.Getpid()
	data, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("mcptest: %w", err)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if _, err := tr.file.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("mcptest: %w", err)
	}
	return nil
}

// ReadTrace reads a trace. A file that is not there yet has no lines, and a line
// that is being written does not count.
func ReadTrace(name string) ([]Line, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mcptest: %w", err)
	}
	var lines []Line
	for text := range bytes.Lines(data) {
		if !bytes.HasSuffix(text, []byte("\n")) {
			break
		}
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("mcptest: trace %s: %w", name, err)
		}
		lines = append(lines, l)
	}
	return lines, nil
}
