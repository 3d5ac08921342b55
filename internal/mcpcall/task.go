package mcpcall

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/onceguard/onceguard"
)

// maxOpen bounds the open receipts that are searched for a task.
const maxOpen = 5000

// Task sees the result of a tasks/get, tasks/result, tasks/update or
// tasks/cancel, with the request's params, and settles the receipt of the call
// whose task has ended (tasks of revision 2025-11-25, and SEP-2663). A call that
// got a task handle stays uncertain until then: it may have happened, and its
// handle is what a repeat of it is answered with.
//
// The receipt is looked for among the open ones. Where two carry the same task
// id (a server that counts from 1 after each start), neither is settled.
func (g *Gate) Task(ctx context.Context, principal, method string, params, result json.RawMessage) error {
	if !json.Valid(params) || !json.Valid(result) {
		return nil
	}
	id, ok := text(field(params, "taskId"))
	if !ok {
		return nil
	}
	final := result
	if method != "tasks/result" {
		status, _ := text(field(result, "status"))
		switch status {
		case "completed":
			if final = field(result, "result"); final == nil {
				return nil // the client fetches it with tasks/result
			}
		case "failed", "cancelled":
			final = nil
		default:
			return nil
		}
	}
	guard := g.scoped(principal)
	rec, err := g.taskOf(ctx, guard, g.secret.hex("task", id))
	if err != nil || rec.ID.IsZero() {
		return err
	}
	tool := strings.TrimPrefix(rec.Action, g.actionOf(actionCall, "")+"/")
	r := onceguard.Resolution{ID: rec.ID, Attempt: rec.Attempt, Who: onceguard.ByReconciler, Verdict: onceguard.ResolveNote, Reason: "the task ended without a result: " + method}
	if final != nil {
		shape, _ := shapeOf(final)
		body, said := outcome(Reply{Result: final}, shape, g.policy.Tool(tool).IsError)
		r.Verdict, r.Reason = verdictOf(shape, body, said)
		if body != nil {
			if r.Result, err = guard.SealResult(ctx, rec.ID, "raw []uint8", body); err != nil {
				return err
			}
		}
	}
	return g.again(ctx, func() error {
		a, err := guard.Store().Resolve(context.WithoutCancel(ctx), r)
		if err == nil {
			err = a.Err
		}
		return err
	})
}

// verdictOf is what a task's end means for its receipt.
func verdictOf(s shape, body []byte, err error) (onceguard.ResolveVerdict, string) {
	switch {
	case err == nil && s != shapeInput:
		return onceguard.ResolveHappened, "the task completed"
	case err != nil && body != nil:
		return onceguard.ResolveRefused, "the task completed with isError"
	}
	return onceguard.ResolveNote, "the task ended, and whether it had its effect is not known"
}

// taskOf finds the one open receipt whose task has an id's digest; the zero
// Record where there is none, or more than one.
func (g *Gate) taskOf(ctx context.Context, guard *onceguard.Guard, digest string) (found onceguard.Record, err error) {
	f := onceguard.Filter{Scope: guard.Scope(), States: []onceguard.State{onceguard.Uncertain}, Limit: 1000}
	for looked := 0; looked < maxOpen; {
		page, err := guard.Store().List(ctx, f)
		if err != nil {
			return found, err
		}
		for _, rec := range page.Records {
			looked++
			if !strings.HasPrefix(rec.Action, g.actionOf(actionCall, "")+"/") {
				continue
			}
			n, err := g.notes(ctx, guard, rec)
			if err != nil {
				return found, err
			}
			if n.task == nil || n.task.Task != digest {
				continue
			}
			if !found.ID.IsZero() {
				return onceguard.Record{}, fmt.Errorf("two open receipts have this task: %s and %s; a person must settle them", found.ID, rec.ID)
			}
			found = rec
		}
		if f.Cursor = page.Next; f.Cursor == "" {
			break
		}
	}
	return found, nil
}
