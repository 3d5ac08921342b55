package mcpcall

import (
	"context"
	"encoding/json"

	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// Tools sees the result of a tools/list and returns it as the client shall see
// it: the same bytes, but for the repeat argument in the schemas of guarded
// tools and the helper tools at the list's end.
func (g *Gate) Tools(ctx context.Context, list json.RawMessage) json.RawMessage {
	if !json.Valid(list) {
		return list
	}
	tools := field(list, "tools")
	all, last, ok := elements(tools)
	if !ok {
		return list
	}
	out := []byte(tools)
	for i := len(all) - 1; i >= 0; i-- { // from the end, so that places stay right
		raw := tools[all[i].from:all[i].to]
		if changed := g.tool(ctx, raw); changed != nil {
			out = splice(out, all[i].from, all[i].to, changed)
			last += len(changed) - len(raw)
		}
	}
	if next, _ := text(field(list, "nextCursor")); next == "" && !g.opts.NoHelpers {
		comma := ""
		if len(all) > 0 {
			comma = ","
		}
		for _, h := range g.helpers() {
			if g.seen.upstreamHas(h.name) {
				g.opts.Log.WarnContext(ctx, "onceguard: the server has a tool with the name of a helper tool; its own is served", "tool", h.name)
				continue
			}
			added := comma + string(compact(h.definition))
			out = splice(out, last, last, []byte(added))
			last += len(added)
			comma = ","
		}
	}
	if string(out) == string(tools) {
		return list
	}
	edited, ok := put(list, []string{"tools"}, out)
	if !ok {
		return list
	}
	return edited
}

// tool learns one definition and returns it with the repeat argument, or nil
// where it stays as it is.
func (g *Gate) tool(ctx context.Context, raw json.RawMessage) json.RawMessage {
	d, err := define(raw)
	if err != nil {
		g.opts.Log.WarnContext(ctx, "onceguard: a tool definition cannot be read; the tool is guarded", "error", err)
		return nil
	}
	schema := field(raw, "inputSchema")
	theirs := field(schema, "properties", g.opts.RepeatArgument) != nil
	if _, err := g.learn(ctx, d, theirs); err != nil {
		g.opts.Log.WarnContext(ctx, "onceguard: a tool definition could not be stored; the tool is guarded", "tool", d.Tool, "error", err)
		return nil
	}
	g.report(ctx, d)
	how := g.policy.Tool(d.Tool)
	if how.Repeat != mcppolicy.RepeatAsk || g.passes(d.Tool) {
		return nil
	}
	if theirs {
		g.opts.Log.WarnContext(ctx, "onceguard: the tool has an argument of the repeat token's name; repeats go by _meta or a person", "tool", d.Tool, "argument", g.opts.RepeatArgument)
		return nil
	}
	if string(field(schema, "properties")) == "null" {
		return nil
	}
	out, ok := put(raw, []string{"inputSchema", "properties", g.opts.RepeatArgument}, compact(map[string]string{
		"type":        "string",
		"description": "Leave out. Only to repeat, because the user wants it, a call that already succeeded: the token that its answer gave.",
	}))
	if !ok || schema == nil {
		return nil
	}
	return out
}

// report tells once that a definition is another than the pinned one: the
// policy's pin, or else the one first seen.
func (g *Gate) report(ctx context.Context, d definition) {
	pin := g.policy.Tool(d.Tool).Pin
	g.seen.mu.Lock()
	defer g.seen.mu.Unlock()
	t := g.seen.tools[d.Tool]
	if pin == "" {
		pin = t.first.Pin
	}
	if pin == d.Pin {
		t.told = false
		return
	}
	if t.told {
		return
	}
	t.told = true
	g.opts.Log.WarnContext(ctx, "onceguard: the server changed a tool's definition since it was pinned; look at it, then pin it again",
		"tool", d.Tool, "pinned", pin, "now", d.Pin, "read_only_before", t.first.ReadOnly, "read_only_now", d.ReadOnly)
}

// Passing lists, by name, the tools seen by this gate whose calls are not
// guarded, for a message at start.
func (g *Gate) Passing() []string {
	g.seen.mu.RLock()
	names := make([]string, 0, len(g.seen.tools))
	for name, t := range g.seen.tools {
		if t.live {
			names = append(names, name)
		}
	}
	g.seen.mu.RUnlock()
	return sortedWhere(names, g.passes)
}
