package mcpguard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// serverResult is a recorded result as a server answers with it: encoded by the
// SDK, it gives the recorded bytes. What decoding would not keep, such as a
// number that no float64 holds or the order of structured content, stays raw.
// A question (input_required) is encoded anew.
func serverResult(raw json.RawMessage) (mcp.Result, error) {
	r, err := decodeResult(raw)
	if err != nil {
		return nil, err
	}
	var own struct {
		Meta       map[string]json.RawMessage `json:"_meta"`
		Content    []json.RawMessage          `json:"content"`
		Structured json.RawMessage            `json:"structuredContent"`
	}
	if err := json.Unmarshal(raw, &own); err != nil {
		return nil, err
	}
	if own.Structured != nil {
		r.StructuredContent = own.Structured
	}
	for name, value := range own.Meta {
		if again, err := json.Marshal(r.Meta[name]); err != nil || !bytes.Equal(again, value) {
			r.Meta[name] = value
		}
	}
	for i, c := range own.Content {
		if again, err := json.Marshal(r.Content[i]); err != nil || !bytes.Equal(again, c) {
			r.Content[i] = kept{r.Content[i], c}
		}
	}
	return r, nil
}

// kept is a piece of content with the bytes that it was recorded with.
type kept struct {
	mcp.Content
	raw json.RawMessage
}

// MarshalJSON implements json.Marshaler.
func (k kept) MarshalJSON() ([]byte, error) { return k.raw, nil }

// decodeResult decodes a result as the SDK's client does.
func decodeResult(raw json.RawMessage) (*mcp.CallToolResult, error) {
	r := new(mcp.CallToolResult)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("mcpguard: the recorded result is none that the SDK reads: %w", err)
	}
	return r, nil
}

// rawError is an error as the SDK writes it.
func rawError(err error) json.RawMessage {
	e := jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: err.Error()}
	var wire *jsonrpc.Error
	if errors.As(err, &wire) {
		e.Code, e.Data = wire.Code, wire.Data
	}
	raw, failed := json.Marshal(&e)
	if failed != nil {
		raw, _ = json.Marshal(&jsonrpc.Error{Code: e.Code, Message: e.Message})
	}
	return raw
}

// wireError is the Go error for a raw one.
func wireError(raw json.RawMessage) error {
	e := new(jsonrpc.Error)
	if err := json.Unmarshal(raw, e); err != nil {
		return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "onceguard: the server's error cannot be read"}
	}
	return e
}

// params is what of a call's params the guard may have changed.
type params struct {
	Name      string                     `json:"name"`
	Arguments json.RawMessage            `json:"arguments"`
	Meta      map[string]json.RawMessage `json:"_meta"`
}

// meta is the call's _meta with what the guard changed in it: names that it took
// out, and texts that it put in. All other values stay what the SDK made of them.
func (p params) meta(was mcp.Meta) (mcp.Meta, error) {
	if p.Meta == nil {
		return nil, nil
	}
	now := make(mcp.Meta, len(p.Meta))
	for name, raw := range p.Meta {
		if v, ok := was[name]; ok && !bytes.HasPrefix(raw, []byte(`"`)) {
			now[name] = v
			continue
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, err
		}
		now[name] = v
	}
	return now, nil
}
