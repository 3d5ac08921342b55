package mcpguard

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// learned are the tools whose definitions the gate has seen, and the schemas of
// their arguments as the SDK has them.
type learned struct {
	mu      sync.Mutex
	schemas map[string]any
}

func (l *learned) schema(tool string) (schema any, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	schema, known = l.schemas[tool]
	return schema, known
}

func (l *learned) add(tools []*mcp.Tool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.schemas == nil {
		l.schemas = make(map[string]any)
	}
	for _, t := range tools {
		l.schemas[t.Name] = t.InputSchema
	}
}

// listed shows a list of tools to the gate and returns it as the client shall
// have it. Definitions belong to the server and are never changed: those that
// get an argument are made anew.
func (m *Middleware) listed(ctx context.Context, list *mcp.ListToolsResult) (mcp.Result, error) {
	raws := make([]json.RawMessage, len(list.Tools))
	for i, t := range list.Tools {
		raw, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		raws[i] = raw
	}
	page, err := json.Marshal(struct {
		Tools []json.RawMessage `json:"tools"`
		Next  string            `json:"nextCursor,omitempty"`
	}{raws, list.NextCursor})
	if err != nil {
		return nil, err
	}
	var shown struct {
		Tools []json.RawMessage `json:"tools"`
	}
	if err := json.Unmarshal(m.gate.Tools(ctx, page), &shown); err != nil {
		return nil, err
	}
	m.tools.add(list.Tools)
	tools := make([]*mcp.Tool, len(shown.Tools))
	for i, raw := range shown.Tools {
		if i < len(raws) && string(raw) == string(raws[i]) {
			tools[i] = list.Tools[i]
			continue
		}
		tools[i] = new(mcp.Tool)
		if err := json.Unmarshal(raw, tools[i]); err != nil {
			return nil, err
		}
	}
	out := *list
	out.Tools = tools
	return &out, nil
}

// maxPages bounds how many pages of tools are asked for.
const maxPages = 100

// learn lets the gate see the server's tools before the first call of one: what
// passes, and what has a schema of its own for results, does not depend on
// whether a client listed them.
func (m *Middleware) learn(ctx context.Context, r *mcp.CallToolRequest, next mcp.MethodHandler) {
	if _, known := m.tools.schema(r.Params.Name); known {
		return
	}
	cursor := ""
	for range maxPages {
		result, err := next(ctx, methodList, &mcp.ListToolsRequest{Session: r.Session, Params: &mcp.ListToolsParams{Cursor: cursor}, Extra: r.Extra})
		list, ok := result.(*mcp.ListToolsResult)
		if err == nil && ok {
			_, err = m.listed(ctx, list)
		}
		if err != nil || !ok {
			m.opts.Log.WarnContext(ctx, "onceguard: the server's tools could not be listed; all are guarded", "error", err)
			return
		}
		if cursor = list.NextCursor; cursor == "" {
			return
		}
	}
}
