package onceguard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/onceguard/onceguard/internal/fault"
)

// The spool keeps outcomes that the store did not take, one file each, written
// to a temporary name, fsynced and renamed, so that a crash leaves a whole file
// or none. A settle is idempotent by attempt and token, therefore any process
// may deliver any file, and several may do so at once. The files hold owner
// tokens and results: directory 0700, files 0600.

const spoolSuffix = ".settle"

// spooled is the file's content.
type spooled struct {
	Version    int       `json:"version"`
	RequestID  string    `json:"request_id"`
	Attempt    int64     `json:"attempt"`
	Owner      []byte    `json:"owner"`
	Verb       Verb      `json:"verb"`
	Reason     string    `json:"reason,omitempty"`
	Body       []byte    `json:"body,omitempty"`
	Type       string    `json:"type,omitempty"`
	Digest     []byte    `json:"digest,omitempty"`
	MissingGap ResultGap `json:"missing,omitempty"`
}

func (s Settlement) spoolName() string {
	return fmt.Sprintf("%s-%d%s", s.ID, s.Attempt, spoolSuffix)
}

// spool writes s if there is a spool. A failure is told to the observer only:
// the settle goes on in memory, and the spool is a second chance, not the first.
func (c *core) spool(ctx context.Context, s Settlement) {
	if c.opts.Spool == "" {
		return
	}
	fault.Point("spool.before-write")
	f := spooled{
		Version: 1, RequestID: s.ID.String(), Attempt: s.Attempt, Owner: s.Owner[:], Verb: s.Verb, Reason: s.Reason,
		Body: s.Result.Body, Type: s.Result.Type, Digest: s.Result.Digest[:], MissingGap: s.Result.Missing,
	}
	data, err := json.Marshal(f)
	if err == nil {
		err = writeDurably(c.opts.Spool, s.spoolName(), data)
	}
	if err != nil {
		c.observe(ctx, Event{Kind: EventWarning, RequestID: s.ID, Attempt: s.Attempt, Detail: "writing the spool failed; the outcome is kept in memory", Err: err})
	}
	fault.Point("spool.after-write")
}

func writeDurably(dir, name string, data []byte) (err error) {
	tmp, err := os.CreateTemp(dir, name+".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err = tmp.Write(data); err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// unspool drops a delivered outcome. One that the store has no row for is kept:
// the store may be the wrong one, or may be restored.
func (c *core) unspool(s Settlement, a Answer) {
	if c.opts.Spool != "" && a.Outcome != Missing {
		_ = os.Remove(filepath.Join(c.opts.Spool, s.spoolName()))
	}
}

// startSpool checks the directory and delivers what is in it: each file once
// now, and again in the background until the store answers.
func (c *core) startSpool(ctx context.Context) error {
	dir := c.opts.Spool
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("mode %04o lets others read owner tokens and results; chmod 700 %s", info.Mode().Perm(), dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), spoolSuffix) {
			continue
		}
		s, err := readSpooled(filepath.Join(dir, e.Name()))
		if err != nil {
			c.observe(ctx, Event{Kind: EventWarning, Detail: "spool file " + e.Name() + " cannot be read and is left where it is", Err: err})
			continue
		}
		c.deliver(ctx, s)
	}
	return nil
}

func (c *core) deliver(ctx context.Context, s Settlement) {
	done := func(a Answer) {
		c.unspool(s, a)
		ev := Event{Kind: EventSettled, RequestID: s.ID, Scope: a.Record.Scope, Action: a.Record.Action, Attempt: s.Attempt, State: a.Record.State, Transition: a.Transition, Detail: "delivered from the spool"}
		if a.Outcome == Missing {
			ev.Kind, ev.Detail = EventForgotten, "the store has no row for an outcome in the spool; its file is left where it is"
		}
		c.observe(ctx, ev)
	}
	if a, err := c.tell(ctx, s); err == nil {
		done(a)
		return
	}
	ctx = context.WithoutCancel(ctx)
	c.background.Go(func() {
		for n := 1; c.backoff(nil, n); n++ {
			if a, err := c.tell(ctx, s); err == nil {
				done(a)
				return
			}
		}
	})
}

func readSpooled(path string) (Settlement, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Settlement{}, err
	}
	var f spooled
	if err := json.Unmarshal(data, &f); err != nil {
		return Settlement{}, err
	}
	id, err := ParseRequestID(f.RequestID)
	if err != nil {
		return Settlement{}, err
	}
	s := Settlement{ID: id, Attempt: f.Attempt, Verb: f.Verb, Reason: f.Reason}
	s.Result = Result{Body: f.Body, Type: f.Type, Missing: f.MissingGap}
	if f.Version != 1 || len(f.Owner) != len(s.Owner) || (len(f.Digest) != 0 && len(f.Digest) != len(s.Result.Digest)) {
		return Settlement{}, errors.New("not a spool file of this version")
	}
	copy(s.Owner[:], f.Owner)
	copy(s.Result.Digest[:], f.Digest)
	if s.Verb < SettleSucceeded || s.Verb > SettleReleased || !s.Result.Intact() && s.Verb == SettleSucceeded {
		return Settlement{}, errors.New("damaged: the digest or the verb is wrong")
	}
	return s, nil
}
