package mcpcall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/memstore"
)

var update = flag.Bool("update", false, "write testdata/verdicts anew")

// fixedStore has a clock that stands still and secrets that everybody knows, so
// that every answer is the same on every run.
func fixedStore(t *testing.T) *memstore.Store {
	t.Helper()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := memstore.New(memstore.Options{Now: func() time.Time { return at }})
	_, err := s.Secrets(t.Context(), []onceguard.Secret{
		{Name: "downstream", Value: bytes.Repeat([]byte{1}, 32)},
		{Name: "fingerprint/0001", Value: bytes.Repeat([]byte{2}, 32)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestVerdicts holds every verdict, word by word, to testdata/verdicts.
func TestVerdicts(t *testing.T) {
	lost := func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
		return mcpcall.Reply{}, errors.New("the stream broke")
	}
	failed := func(r mcpcall.Reply) func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
		return func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) { return r, nil }
	}
	const args = `{"order":"A-1","cents":500}`
	modern := `{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`
	for name, tt := range map[string]struct {
		policy string
		make   func(w *world, s *memstore.Store) mcpcall.Reply
		want   mcpcall.Verdict
	}{
		"replayed-noted": {"repeat: replay", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.delivered(args, "")
			return w.send(args, "")
		}, mcpcall.Replayed},
		"in-flight": {"wait: 1ms", func(w *world, _ *memstore.Store) mcpcall.Reply {
			started, release := make(chan bool), make(chan bool)
			w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) {
				started <- true
				<-release
				return done(n), nil
			}
			ended := make(chan bool)
			go func() {
				w.gate.Do(w.ctx, mcpcall.Call{Params: params("pay", args, "")}, w.up)
				close(ended)
			}()
			await(w.t, started)
			r := w.send(args, "")
			close(release)
			await(w.t, ended)
			return r
		}, mcpcall.InFlight},
		"uncertain": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.answer = lost
			w.send(args, "")
			return w.send(args, modern)
		}, mcpcall.Uncertain},
		"uncertain-isError": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.answer = failed(mcpcall.Reply{Result: json.RawMessage(`{"isError":true,"content":[{"type":"text","text":"gateway timeout"}]}`)})
			return w.send(args, "")
		}, mcpcall.Uncertain},
		"uncertain-error": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.answer = failed(mcpcall.Reply{Error: json.RawMessage(`{"code":-32603,"message":"internal"}`)})
			return w.send(args, "")
		}, mcpcall.Uncertain},
		"uncertain-rerun": {"policy: rerun", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.answer = lost
			return w.send(args, "")
		}, mcpcall.Uncertain},
		"refused-not-kept": {"is_error: refused", func(w *world, s *memstore.Store) mcpcall.Reply {
			w.answer = lost
			id, err := onceguard.ParseRequestID(w.want(w.send(args, claude("c")), mcpcall.Uncertain).RequestID)
			if err != nil {
				w.t.Fatal(err)
			}
			_, err = s.Resolve(w.ctx, onceguard.Resolution{
				ID: id, Attempt: 1, Verdict: onceguard.ResolveNeverWill, Who: onceguard.ByOperator, By: "ann", Reason: "the bank has no such transfer",
			})
			if err != nil {
				w.t.Fatal(err)
			}
			return w.send(args, claude("c"))
		}, mcpcall.Refused},
		"conflict": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.send(args, claude("c"))
			return w.send(`{"order":"A-2"}`, claude("c"))
		}, mcpcall.Conflict},
		"drift": {"identity: {key: [/order]}", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.send(args, "")
			return w.send(`{"order":"A-1","cents":600}`, "")
		}, mcpcall.Drift},
		"drift-values": {"identity: {key: [/order], show_values: [/cents]}", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.answer = lost
			w.send(args, "")
			return w.send(`{"order":"A-1","cents":600}`, "")
		}, mcpcall.Drift},
		"repeat": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.delivered(args, "")
			return w.send(args, "")
		}, mcpcall.Repeat},
		"repeat-wrong-token": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.delivered(args, "")
			return w.send(args, `{"io.github.onceguard/repeat":"again-0-x"}`)
		}, mcpcall.Repeat},
		"repeat-money": {"repeat: money", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.delivered(args, "")
			return w.send(args, "")
		}, mcpcall.Repeat},
		"no-result": {"result: digest", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.send(args, "")
			return w.send(args, "")
		}, mcpcall.NoResult},
		"expired": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			return w.send(args, `{"idempotencyKey":"018bcfe5-6800-7abc-8def-0123456789ab"}`) // a UUIDv7 of 2023
		}, mcpcall.Expired},
		"not-run": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
				return mcpcall.Reply{}, onceguard.NotExecuted(errors.New("dial"))
			}
			return w.send(args, "")
		}, mcpcall.NotRun},
		"frozen": {"", func(w *world, s *memstore.Store) mcpcall.Reply {
			s.SetEpoch("another")
			return w.send(args, "")
		}, mcpcall.Frozen},
		"invalid": {"identity: {key: [/order]}", func(w *world, _ *memstore.Store) mcpcall.Reply {
			return w.send(`{"cents":500}`, "")
		}, mcpcall.Invalid},
		"changed-definition": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.gate.Tools(w.ctx, listOf(payTool))
			w.gate.Tools(w.ctx, listOf(strings.Replace(payTool, `"x":1.0`, `"x":2`, 1)))
			w.delivered(args, "")
			return w.send(args, "")
		}, mcpcall.Repeat},
		"output-schema": {"", func(w *world, _ *memstore.Store) mcpcall.Reply {
			w.gate.Tools(w.ctx, listOf(strings.Replace(outTool, `"out"`, `"pay"`, 1)))
			w.delivered(args, "")
			return w.send(args, "")
		}, mcpcall.Repeat},
	} {
		t.Run(name, func(t *testing.T) {
			s := fixedStore(t)
			policy := ""
			if tt.policy != "" {
				policy = "tools: [{name: pay, " + tt.policy + "}]"
			}
			w := newWorld(t, s, policy)
			r := tt.make(w, s)
			w.want(r, tt.want)
			golden(t, name, r)
		})
	}
}

// TestUnsettledVerdict: the outcome is known to this call alone.
func TestUnsettledVerdict(t *testing.T) {
	for name, result := range map[string]string{
		"unsettled":         `{"content":[{"type":"text","text":"paid"}]}`,
		"unsettled-isError": `{"isError":true,"content":[{"type":"text","text":"no"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := fixedStore(t)
			w := newWorld(t, s, "")
			g, err := onceguard.New(w.ctx, noSettle{s}, onceguard.Options{SettleWait: time.Millisecond, Observer: onceguard.SlogObserver(w.opts.Log)})
			if err != nil {
				t.Fatal(err)
			}
			if w.gate, err = mcpcall.New(w.ctx, g, w.pol, w.opts); err != nil {
				t.Fatal(err)
			}
			w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
				return mcpcall.Reply{Result: json.RawMessage(result)}, nil
			}
			r := w.send(`{"a":1}`, "")
			w.want(r, mcpcall.Unsettled)
			golden(t, name, r)
			ctx, stop := context.WithCancel(w.ctx)
			stop()
			_ = g.Close(ctx) // it would go on trying
		})
	}
}

// noSettle is a store that takes no outcome.
type noSettle struct{ onceguard.Store }

func (s noSettle) Settle(context.Context, []onceguard.Settlement) ([]onceguard.Answer, error) {
	return nil, &onceguard.StoreError{Op: "settle", Err: errors.New("no answer")}
}

// golden compares a reply with its file.
func golden(t *testing.T, name string, r mcpcall.Reply) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, append(append([]byte{}, r.Result...), r.Error...), "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	path := filepath.Join("testdata", "verdicts", name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("another answer (-want +got); if it is meant, run with -update:\n%s", d)
	}
}
