package toolserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/mcptest"
)

// errHungUp ends a call without an answer.
var errHungUp = errors.New("no answer is planned")

// call carries out a tools/call. What it sends goes to out; an error means that
// there is no answer. ctx ends when the client cancels.
func (s *server) call(ctx context.Context, f frame, out *outlet) error {
	var c call
	if err := json.Unmarshal(f.Params, &c); err != nil {
		return out.send(f.refuse(-32602, "params: "+err.Error()))
	}
	s.note(mcptest.Line{What: mcptest.Called, Tool: c.Name, ID: f.ID, Params: f.Params})
	t, ok := find(c.Name)
	if !ok {
		return out.send(f.refuse(-32602, "there is no tool "+c.Name))
	}
	if err := t.check(c); err != nil {
		return out.send(f.refuse(-32602, err.Error()))
	}
	plan, err := mcptest.ReadPlan(s.config.Plan)
	if err != nil {
		return out.send(f.refuse(-32603, err.Error()))
	}
	s.mu.Lock()
	s.calls[c.Name]++
	mode := plan.Mode(c.Name, s.calls[c.Name])
	s.mu.Unlock()

	if answer := s.early(f, t, c, mode); answer != "" {
		return out.send(answer)
	}
	for i := range mode.Progress {
		if len(c.Meta.ProgressToken) == 0 {
			break
		}
		if err := out.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken": %s,"progress":%d,"total":%d}}`,
			c.Meta.ProgressToken, i+1, mode.Progress)); err != nil {
			return err
		}
	}
	answer, err := s.carryOut(ctx, f, t, c, mode)
	if err != nil {
		return err
	}
	times := 1
	if mode.Twice {
		times = 2
	}
	for range times {
		if err := out.send(answer); err != nil {
			return err
		}
	}
	s.note(mcptest.Line{What: mcptest.Answered, Tool: c.Name, ID: f.ID})
	if mode.Redefine {
		s.redefine(c.Name)
	}
	return nil
}

// early gives the answers before which nothing happens, "" for none.
func (s *server) early(f frame, t tool, c call, mode mcptest.Mode) string {
	switch {
	case mode.Refuse:
		return f.refuse(-32602, t.name+": refused before anything was done")
	case mode.Ask && len(c.InputResponses) == 0:
		return f.answer(`{"resultType":"input_required","inputRequests":{"ok":{"method":"elicitation/create","params":{"mode":"form",` +
			`"message":"Really?","requestedSchema":{"type":"object","properties":{"yes":{"type":"boolean"}}}}}},"requestState":"asked-once"}`)
	case mode.Task:
		s.mu.Lock()
		id := fmt.Sprintf("task-%d-%d", os.Getpid(), len(s.tasks)+1)
		s.tasks[id] = task{call: c}
		s.mu.Unlock()
		return f.answer(fmt.Sprintf(`{"resultType":"task","taskId":%q,"status":"working",%s}`, id, taskTimes))
	}
	return ""
}

// carryOut has the effect and returns the answer.
func (s *server) carryOut(ctx context.Context, f frame, t tool, c call, mode mcptest.Mode) (string, error) {
	if err := s.strike(ctx, mode, mcptest.Before); err != nil {
		return "", err
	}
	switch {
	case mode.Error == mcptest.Before:
		return f.refuse(-32603, t.name+": something broke"), nil
	case mode.IsError == mcptest.Before:
		return f.answer(t.result(c, f.Params, "", true)), nil
	}
	effect, err := s.effect(ctx, t, c)
	if err != nil {
		return "", err
	}
	if err := s.strike(ctx, mode, mcptest.After); err != nil {
		return "", err
	}
	switch {
	case mode.Drop:
		return "", errHungUp
	case mode.Error == mcptest.After:
		return f.refuse(-32603, t.name+": something broke"), nil
	}
	return f.answer(t.result(c, f.Params, effect, mode.IsError == mcptest.After)), nil
}

// strike hangs or dies, if it is time.
func (s *server) strike(ctx context.Context, mode mcptest.Mode, when string) error {
	if mode.Die == when {
		os.Exit(mcptest.DieStatus)
	}
	if mode.Hang == when {
		select {
		case <-ctx.Done():
		case <-s.done.Done():
		}
		return errHungUp
	}
	return nil
}

// effect asks the ledger. A cancelled call stops waiting for it, as a server
// does that heeds cancellation: the effect may happen all the same.
func (s *server) effect(ctx context.Context, t tool, c call) (string, error) {
	if t.reads {
		return "", nil
	}
	body, err := json.Marshal(c.Arguments)
	if err != nil {
		return "", fmt.Errorf("toolserver: %w", err)
	}
	a, err := s.ledger.Apply(ctx, ledger.Request{Op: t.op(c), Body: body})
	if err != nil {
		return "", fmt.Errorf("toolserver: %w", err)
	}
	s.note(mcptest.Line{What: mcptest.Applied, Tool: t.name})
	return a.ID, nil
}

// redefine changes a tool's definition and tells everybody who listens.
func (s *server) redefine(name string) {
	s.mu.Lock()
	s.redefined[name] = true
	listeners := make([]*outlet, 0, len(s.listeners))
	for o := range s.listeners {
		listeners = append(listeners, o)
	}
	s.mu.Unlock()
	for _, o := range listeners {
		_ = o.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`) // whoever left does not hear it
	}
}

const taskTimes = `"createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttlMs":60000,"pollIntervalMs":50`

// taskTime bounds the effect of a task.
const taskTime = 30 * time.Second

// taskState answers tasks/get and tasks/result. The effect happens with the
// first of them.
func (s *server) taskState(f frame) string {
	var p struct {
		TaskID string `json:"taskId"`
	}
	_ = json.Unmarshal(f.Params, &p)
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.tasks[p.TaskID]
	if !ok {
		return f.refuse(-32602, "there is no task "+p.TaskID)
	}
	if k.result == nil {
		ctx, cancel := context.WithTimeout(s.done, taskTime)
		defer cancel()
		t, _ := find(k.call.Name)
		effect, err := s.effect(ctx, t, k.call)
		if err != nil {
			return f.refuse(-32603, err.Error())
		}
		k.result = json.RawMessage(t.result(k.call, f.Params, effect, false))
		s.tasks[p.TaskID] = k
	}
	if f.Method == "tasks/result" {
		return f.answer(string(k.result))
	}
	return f.answer(fmt.Sprintf(`{"resultType":"complete","taskId":%q,"status":"completed",%s,"result":%s}`, p.TaskID, taskTimes, k.result))
}
