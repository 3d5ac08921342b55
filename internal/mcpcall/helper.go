package mcpcall

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/onceguard/onceguard"
)

// helper is one of the two tools of the gate's own. They read receipts of the
// caller's own scope. None approves, resolves, releases or redeems: an injected
// model would use it.
type helper struct {
	name       string
	definition map[string]any
}

func (g *Gate) helpers() []helper {
	readOnly := map[string]bool{"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false}
	return []helper{
		{g.opts.StatusTool, map[string]any{
			"name":        g.opts.StatusTool,
			"description": "What became of an earlier tool call: give the request_id that its answer named. Runs nothing.",
			"inputSchema": map[string]any{
				"type": "object", "required": []string{"request_id"},
				"properties": map[string]any{"request_id": map[string]string{"type": "string", "description": `"req_" and 52 characters`}},
			},
			"annotations": readOnly,
		}},
		{g.opts.OpenTool, map[string]any{
			"name":        g.opts.OpenTool,
			"description": "Lists tool calls that are running or whose outcome is unknown. Runs nothing.",
			"inputSchema": map[string]any{"type": "object", "properties": map[string]any{}},
			"annotations": readOnly,
		}},
	}
}

// maxListed bounds the answer of the open tool.
const maxListed = 50

// status is one receipt as the helper tools show it.
type status struct {
	RequestID string `json:"request_id"`
	Tool      string `json:"tool"`
	State     string `json:"state"`
	Since     string `json:"since,omitempty"`
	MayRun    bool   `json:"may_have_run"`
	Reason    string `json:"reason,omitempty"`
	SettledBy string `json:"settled_by,omitempty"`
}

func (g *Gate) statusOf(rec onceguard.Record) status {
	return status{
		RequestID: rec.ID.String(), Tool: strings.TrimPrefix(rec.Action, g.action("")+"/"), State: rec.State.String(), Since: when(rec.Since),
		MayRun: rec.State.MayHaveRun() || rec.UnknownAttempt, Reason: rec.Reason, SettledBy: rec.SettledBy,
	}
}

// Helper answers a call of one of the helper tools; params are those of the
// tools/call. They read, and change nothing.
func (g *Gate) Helper(ctx context.Context, principal string, params json.RawMessage) Reply {
	if _, err := onceguard.CanonicalJSON(params); err != nil {
		return g.invalid(err)
	}
	name, _ := text(field(params, "name"))
	guard := g.scoped(principal)
	switch name {
	case g.opts.StatusTool:
		return g.showStatus(ctx, guard, params)
	case g.opts.OpenTool:
		return g.showOpen(ctx, guard)
	}
	return g.invalid(fmt.Errorf("there is no helper tool %.60q", name))
}

func (g *Gate) showStatus(ctx context.Context, guard *onceguard.Guard, params json.RawMessage) Reply {
	asked, _ := text(field(params, "arguments", "request_id"))
	id, err := onceguard.ParseRequestID(asked)
	if err != nil {
		return shown("The request_id is not one: "+strings.TrimPrefix(err.Error(), "onceguard: ")+".", nil, true)
	}
	answers, err := g.get(ctx, guard, id)
	if err != nil {
		return shown("The store did not answer; ask again later.", nil, true)
	}
	rec := answers[0].Record
	// Whether somebody else's receipt exists is theirs to know.
	if answers[0].Outcome != onceguard.Found || rec.Scope != guard.Scope() || !strings.HasPrefix(rec.Action, g.action("")+"/") {
		return shown("There is no such call. That alone does not say that nothing happened.", nil, false)
	}
	s := g.statusOf(rec)
	return shown(sentence(s), s, false)
}

func sentence(s status) string {
	switch s.State {
	case "succeeded":
		return fmt.Sprintf("%s succeeded (%s). It is done; do not repeat it.", s.Tool, s.Since)
	case "failed":
		return fmt.Sprintf("%s did not happen: it was refused (%s).", s.Tool, s.Since)
	case "released":
		if s.MayRun {
			return s.Tool + " was released for another run by a person; an earlier try may have happened."
		}
		return s.Tool + " did not happen. The same call may be made again."
	case "claimed":
		return fmt.Sprintf("%s is running (since %s). Make the same call again later to get its result.", s.Tool, s.Since)
	}
	return fmt.Sprintf("Whether %s happened is not known (since %s). Do not call it again; somebody must check.", s.Tool, s.Since)
}

func (g *Gate) showOpen(ctx context.Context, guard *onceguard.Guard) Reply {
	var list []status
	f := onceguard.Filter{Scope: guard.Scope(), States: []onceguard.State{onceguard.Claimed, onceguard.Uncertain}, Limit: 200}
	for page := 0; page < 10 && len(list) <= maxListed; page++ {
		p, err := guard.Store().List(ctx, f)
		if err != nil {
			return shown("The store did not answer; ask again later.", nil, true)
		}
		for _, rec := range p.Records {
			if strings.HasPrefix(rec.Action, g.action("")+"/") {
				list = append(list, g.statusOf(rec))
			}
		}
		if f.Cursor = p.Next; f.Cursor == "" {
			break
		}
	}
	more := len(list) > maxListed
	list = list[:min(len(list), maxListed)]
	lines := []string{fmt.Sprintf("%d open calls.", len(list))}
	if more {
		lines[0] = fmt.Sprintf("The latest %d open calls; there are more.", len(list))
	}
	if len(list) == 0 {
		lines[0] = "No call is running, and none has an unknown outcome."
	}
	for _, s := range list {
		lines = append(lines, s.RequestID+": "+sentence(s))
	}
	return shown(strings.Join(lines, "\n"), map[string]any{"open": append([]status{}, list...), "more": more}, false)
}

// shown is the result of a helper tool.
func shown(text string, structured any, failed bool) Reply {
	r := map[string]any{"content": []any{textContent{"text", text}}, "isError": failed}
	if structured != nil {
		r["structuredContent"] = structured
	}
	return Reply{Result: compact(r)}
}

func sortedWhere(names []string, keep func(string) bool) (out []string) {
	for _, n := range names {
		if keep(n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}
