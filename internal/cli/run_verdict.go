package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/onceguard/onceguard"
)

// codeOK is the verdict of a success, first run or replay.
const codeOK = "ok"

// verdict is what --status-file and --json say of a run.
type verdict struct {
	// Code is "ok", "interrupted", "not-started" or a code of the library
	// (refused, uncertain, mismatch, in-progress, no-result, expired, frozen,
	// not-run, not-executed, unsettled, invalid, …).
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`

	RequestID string `json:"request_id,omitempty"`
	Scope     string `json:"scope,omitempty"`
	Action    string `json:"action,omitempty"`
	Key       string `json:"key,omitempty"`
	Store     string `json:"store,omitempty"`

	State      string `json:"state,omitempty"`
	Attempt    int64  `json:"attempt,omitempty"`
	Replayed   bool   `json:"replayed"`
	Ran        bool   `json:"ran"`          // this call ran the command
	MayHaveRun bool   `json:"may_have_run"` // the effect may have happened, by this call or another

	ExitCode *int   `json:"exit_code"` // the command's own, now or as recorded; null: none
	Signal   string `json:"signal,omitempty"`
	Exit     int    `json:"exit"` // of this run

	SettledAt  *time.Time `json:"settled_at,omitempty"`
	SettledBy  string     `json:"settled_by,omitempty"`
	Since      *time.Time `json:"since,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Waived     bool       `json:"waived,omitempty"`
	RetryAfter float64    `json:"retry_after_seconds,omitempty"`
}

func codeOf(s onceguard.State) string {
	switch s {
	case onceguard.Succeeded:
		return codeOK
	case onceguard.Failed:
		return string(onceguard.ErrRefused)
	case onceguard.Released:
		return string(onceguard.ErrNotExecuted)
	}
	return string(onceguard.ErrUncertain)
}

func (r *runner) verdictOf(receipt onceguard.Receipt[output], err error) verdict {
	v := verdict{Code: codeOK, Action: r.cmd.Action, Scope: r.cmd.Scope, Store: r.at.shown}
	if !r.id.IsZero() {
		v.RequestID, v.Key = r.id.String(), r.request.Key.String()
	}
	if receipt.State != onceguard.Absent {
		v.State, v.Attempt, v.Replayed = receipt.State.String(), receipt.Attempt, receipt.Replayed
		v.SettledAt, v.SettledBy = jsonTime(receipt.SettledAt), receipt.SettledBy
		v.Reason, v.Waived = receipt.Reason, receipt.Waived
	}
	v.MayHaveRun = err == nil
	if err == nil {
		return v
	}
	v.Code = string(onceguard.ErrInvalid)
	var f *failure
	if errors.As(err, &f) && f.status == exitUnavailable {
		v.Code = string(onceguard.ErrNotRun)
	}
	var e *onceguard.Error
	if !errors.As(err, &e) {
		return v
	}
	v.Code, v.MayHaveRun, v.Reason = string(e.Code), e.MayHaveRun, orElse(e.Reason, v.Reason)
	if e.State != onceguard.Absent {
		v.State = e.State.String()
	}
	if e.Attempt != 0 {
		v.Attempt = e.Attempt
	}
	v.Since, v.RetryAfter = jsonTime(e.Since), e.RetryAfter.Seconds()
	return v
}

// statusFile is --status-file: prepared before anything runs, so that a path
// that cannot be written is found in time, and renamed into place at the end. A
// file of an earlier run is removed at once: if this run is killed, its caller
// must not read the verdict of another.
type statusFile struct {
	path string
	temp *os.File
}

func openStatusFile(path string) (*statusFile, error) {
	if path == "" {
		return &statusFile{}, nil
	}
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, usageError("--status-file: %s is not a regular file", plain(path))
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return nil, usageError("--status-file: %w", err)
	}
	s := &statusFile{path: path, temp: temp}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.discard()
		return nil, usageError("--status-file: an earlier one cannot be removed: %w", err)
	}
	return s, nil
}

func (s *statusFile) write(v verdict) error {
	if s.temp == nil {
		return nil
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = s.temp.Write(append(data, '\n'))
	}
	if err == nil {
		err = s.temp.Close()
	}
	if err == nil {
		err = os.Rename(s.temp.Name(), s.path)
	}
	if err != nil {
		s.discard()
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.temp = nil
	return nil
}

// discard removes what write did not use.
func (s *statusFile) discard() {
	if s.temp != nil {
		_ = s.temp.Close()
		_ = os.Remove(s.temp.Name())
		s.temp = nil
	}
}
