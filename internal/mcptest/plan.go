package mcptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// When a fault strikes, relative to the effect.
const (
	Before = "before" // there is no effect
	After  = "after"  // there is one
)

// Mode is how the tool server treats one call. The zero Mode asks the ledger for
// the effect and answers. Fields are looked at in this order: Refuse, Ask, Task,
// Progress, the faults before the effect, the effect, the faults after it.
type Mode struct {
	Refuse   bool   `json:"refuse,omitempty"`   // error -32602, no effect
	Ask      bool   `json:"ask,omitempty"`      // input_required until inputResponses come, no effect before
	Task     bool   `json:"task,omitempty"`     // a task handle; the effect comes with the first tasks/get
	Progress int    `json:"progress,omitempty"` // so many notifications first, if the caller gave a token
	Hang     string `json:"hang,omitempty"`     // Before or After: no answer until the server ends
	Die      string `json:"die,omitempty"`      // Before or After: the process ends with DieStatus
	Error    string `json:"error,omitempty"`    // Before or After: error -32603
	IsError  string `json:"is_error,omitempty"` // Before or After: a result with isError
	Drop     bool   `json:"drop,omitempty"`     // after the effect no answer; over HTTP the connection is closed
	Twice    bool   `json:"twice,omitempty"`    // the answer comes two times
	Redefine bool   `json:"redefine,omitempty"` // then the tool's definition changes, with list_changed
}

// DieStatus is the exit status of a tool server that Mode.Die ended.
const DieStatus = 71

// Plan says how calls are treated: by tool, the nth call that this process of
// the server gets as the nth mode says. The last mode stays in force.
type Plan map[string][]Mode

// Mode returns the mode of the nth call of a tool, from 1.
func (p Plan) Mode(tool string, nth int) Mode {
	modes := p[tool]
	if len(modes) == 0 {
		return Mode{}
	}
	return modes[min(nth, len(modes))-1]
}

// ReadPlan reads a plan. The server does so at every call, so that a test may
// change its mind. A file that is not there is an empty plan.
func ReadPlan(file string) (Plan, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mcptest: %w", err)
	}
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("mcptest: plan %s: %w", file, err)
	}
	return p, nil
}

// WritePlan writes a plan so that a reader sees the old one or the new one.
func WritePlan(file string, p Plan) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("mcptest: %w", err)
	}
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("mcptest: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("mcptest: %w", err)
	}
	return nil
}
