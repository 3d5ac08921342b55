package mcpproxy

import (
	"context"
	"encoding/json"

	"github.com/onceguard/onceguard/internal/mcpcall"
)

// Gate is what the transports need of a *mcpcall.Gate, which documents the
// methods.
type Gate interface {
	Decide(tool string) mcpcall.Decision
	Do(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply
	Delivered(ctx context.Context, h mcpcall.Handle) error
	Acknowledged(ctx context.Context, h mcpcall.Handle) error
	Tools(ctx context.Context, result json.RawMessage) json.RawMessage
	Helper(ctx context.Context, principal string, params json.RawMessage) mcpcall.Reply
	Task(ctx context.Context, principal, method string, params, result json.RawMessage) error
}

var _ Gate = (*mcpcall.Gate)(nil)
