package mcpguard_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/mcpguard"
)

// TestAdapter holds both ends to the suite for adapters. The server says what an
// error means by the mark on it; to the host it is said by code and policy.
func TestAdapter(t *testing.T) {
	t.Run("receiving", func(t *testing.T) {
		guardtest.Run(t, guardtest.Adapter{Open: func(t testing.TB, g *onceguard.Guard, h guardtest.Handler) guardtest.Deliver {
			w := newWorld(t)
			w.guard = g
			w.server = acting(t, h, func(meant error, err error) error {
				if errors.Is(meant, onceguard.ErrNotExecuted) {
					return fmt.Errorf("again: %w", err)
				}
				return err
			})
			m, err := mcpguard.Receiving(w.ctx, g, mcpguard.Options{Server: "suite", Scope: mcpguard.SingleTenant, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			w.server.AddReceivingMiddleware(m.Wrap)
			s := w.connect()
			return func(ctx context.Context, msg guardtest.Message) guardtest.Answer {
				return heard(s.CallTool(ctx, act(msg)))
			}
		}})
	})
	t.Run("sending", func(t *testing.T) {
		guardtest.Run(t, guardtest.Adapter{Open: func(t testing.TB, g *onceguard.Guard, h guardtest.Handler) guardtest.Deliver {
			w := newWorld(t)
			w.guard = g
			survive := func(ctx context.Context, m guardtest.Message) (reply string, err error) {
				defer func() { // another process would die
					if v := recover(); v != nil {
						err = fmt.Errorf("died: %v", v)
					}
				}()
				return h(ctx, m)
			}
			w.server = acting(t, survive, func(meant, err error) error {
				switch {
				case errors.Is(meant, onceguard.ErrNotExecuted):
					return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: err.Error()}
				case errors.Is(meant, onceguard.ErrRefused):
					return err
				}
				return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: err.Error()}
			})
			policy, err := mcpguard.NewPolicy("suite", mcpguard.Tool{Name: "act", IsError: mcpguard.IsErrorRefused})
			if err != nil {
				t.Fatal(err)
			}
			w.options.Server, w.options.Policy = "", policy
			s := w.connect(w.host())
			return func(ctx context.Context, msg guardtest.Message) guardtest.Answer {
				ctx = mcpguard.WithKey(ctx, onceguard.KeyOf("message", msg.ID))
				p := act(msg)
				p.Meta = nil
				return heard(s.CallTool(ctx, p))
			}
		}})
	})
}

type message struct {
	ID      string `json:"id"`
	Payload string `json:"payload"`
}

// acting is a server with one tool, the suite's handler.
func acting(t testing.TB, h guardtest.Handler, say func(meant, err error) error) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "suite", Version: "1"}, &mcp.ServerOptions{Logger: quiet})
	mcp.AddTool(s, &mcp.Tool{Name: "act"}, func(ctx context.Context, _ *mcp.CallToolRequest, in message) (*mcp.CallToolResult, any, error) {
		reply, err := h(ctx, guardtest.Message{ID: in.ID, Payload: in.Payload})
		if err != nil {
			return nil, nil, say(meaningOf(t, err), err)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: reply}}}, nil, nil
	})
	return s
}

func act(m guardtest.Message) *mcp.CallToolParams {
	return &mcp.CallToolParams{Name: "act", Meta: mcp.Meta{"io.github.onceguard/key": m.ID}, Arguments: message{m.ID, m.Payload}}
}

// heard is what a program learns that reads verdicts.
func heard(r *mcp.CallToolResult, err error) guardtest.Answer {
	if err != nil {
		return guardtest.Answer{Verdict: guardtest.Again, Detail: err.Error()}
	}
	v, told := mcpguard.ReadVerdict(r)
	a := guardtest.Answer{Detail: text(r)}
	switch {
	case !r.IsError:
		a.Verdict, a.Reply = guardtest.Done, text(r)
	case v.Name == "not-run":
		a.Verdict = guardtest.Again
	case v.Name == "in-flight":
		a.Verdict = guardtest.InProgress
	case v.Name == "uncertain":
		a.Verdict = guardtest.Uncertain
	case v.Name == "conflict", v.Name == "drift":
		a.Verdict = guardtest.Mismatch
	case !told && strings.HasPrefix(text(r), "again: "):
		a.Verdict = guardtest.Again
	case !told:
		a.Verdict = guardtest.Refused
	}
	return a
}

// meaningOf asks another guard what an effect's error means.
func meaningOf(t testing.TB, err error) error {
	_, meant := onceguard.Do(context.Background(), guardtest.New(t), onceguard.Request{Action: "a", Key: onceguard.KeyOf("id", 1)},
		func(context.Context, *onceguard.Attempt) (string, error) { return "", err })
	return meant
}
