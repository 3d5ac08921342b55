package mcpcall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcppolicy"
	"github.com/onceguard/onceguard/memstore"
	"github.com/onceguard/onceguard/sqlitestore"
)

// world is a gate in front of a server that counts.
type world struct {
	t     *testing.T
	ctx   context.Context
	store onceguard.Store
	pol   *mcppolicy.Policy
	opts  mcpcall.Options
	guard *onceguard.Guard
	gate  *mcpcall.Gate
	log   *lockedText

	mu     sync.Mutex
	calls  []json.RawMessage // params as they were forwarded
	header []http.Header
	// answer is the server; by default every call gets its own number back.
	answer func(ctx context.Context, n int, params json.RawMessage) (mcpcall.Reply, error)
}

// bothStores runs a test on the memory store and on SQLite.
func bothStores(t *testing.T, policy string, f func(w *world), change ...func(*mcpcall.Options)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { f(newWorld(t, memstore.New(memstore.Options{}), policy, change...)) })
	t.Run("sqlite", func(t *testing.T) {
		s, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "receipts.db"), &sqlitestore.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		f(newWorld(t, s, policy, change...))
	})
}

// memoryAnd runs a test on the memory store, and on SQLite where that is worth
// its time.
func memoryAnd(t *testing.T, sqlite bool, policy string, f func(w *world)) {
	t.Helper()
	if sqlite {
		bothStores(t, policy, f)
		return
	}
	f(newWorld(t, memstore.New(memstore.Options{}), policy))
}

func newWorld(t *testing.T, store onceguard.Store, policy string, change ...func(*mcpcall.Options)) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), store: store, log: &lockedText{}}
	var err error
	if policy == "" {
		w.pol, err = mcppolicy.Default("srv", false)
	} else {
		w.pol, err = mcppolicy.Parse([]byte("version: 1\nserver: srv\n" + policy))
	}
	if err != nil {
		t.Fatal(err)
	}
	w.opts.Log = slog.New(slog.NewTextHandler(w.log, nil))
	for _, c := range change {
		c(&w.opts)
	}
	w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) { return done(n), nil }
	w.restart()
	return w
}

// restart is another process on the same store.
func (w *world) restart() {
	w.t.Helper()
	var err error
	w.guard, err = onceguard.New(w.ctx, w.store, onceguard.Options{Observer: onceguard.SlogObserver(w.opts.Log)})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.gate, err = mcpcall.New(w.ctx, w.guard, w.pol, w.opts); err != nil {
		w.t.Fatal(err)
	}
}

// done is what the server answers to its nth call. The odd spelling shows that
// bytes are kept.
func done(n int) mcpcall.Reply {
	return mcpcall.Reply{Result: json.RawMessage(fmt.Sprintf(`{ "content":[{"type":"text","text":"done %d é"}], "big":9007199254740993 }`, n))}
}

func (w *world) up(ctx context.Context, params json.RawMessage, header http.Header) (mcpcall.Reply, error) {
	w.mu.Lock()
	w.calls, w.header = append(w.calls, params), append(w.header, header)
	n := len(w.calls)
	w.mu.Unlock()
	return w.answer(ctx, n, params)
}

func (w *world) runs() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

func (w *world) wantRuns(n int) {
	w.t.Helper()
	if got := w.runs(); got != n {
		w.t.Fatalf("the tool ran %d times, want %d", got, n)
	}
}

// send makes a call of the tool "pay"; meta and args are JSON, empty for none.
func (w *world) send(args, meta string) mcpcall.Reply {
	w.t.Helper()
	return w.do(mcpcall.Call{Params: params("pay", args, meta)})
}

func (w *world) do(c mcpcall.Call) mcpcall.Reply {
	w.t.Helper()
	r := w.gate.Do(w.ctx, c, w.up)
	if (r.Result == nil) == (r.Error == nil) {
		w.t.Fatalf("the reply has both or neither of result and error: %+v", r)
	}
	if raw := append(append(json.RawMessage{}, r.Result...), r.Error...); !json.Valid(raw) {
		w.t.Fatalf("the reply is no JSON: %s", raw)
	}
	return r
}

func params(tool, args, meta string) json.RawMessage {
	s := `{"name":` + quoted(tool)
	if args != "" {
		s += `,"arguments":` + args
	}
	if meta != "" {
		s += `,"_meta":` + meta
	}
	return json.RawMessage(s + "}")
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func claude(id string) string { return `{"claudecode/toolUseId":` + quoted(id) + `}` }

// delivered sends a call and has its answer delivered.
func (w *world) delivered(args, meta string) mcpcall.Reply {
	w.t.Helper()
	r := w.send(args, meta)
	w.told(r)
	return r
}

func (w *world) told(r mcpcall.Reply) {
	w.t.Helper()
	if err := w.gate.Delivered(w.ctx, r.Handle); err != nil {
		w.t.Fatal(err)
	}
}

// want checks a reply's verdict and returns its word.
func (w *world) want(r mcpcall.Reply, v mcpcall.Verdict) mcpcall.Word {
	w.t.Helper()
	if r.Verdict != v {
		w.t.Fatalf("verdict %q, want %q: %s%s", r.Verdict, v, r.Result, r.Error)
	}
	var got struct {
		Meta map[string]mcpcall.Word `json:"_meta"`
	}
	if r.Result != nil {
		if err := json.Unmarshal(r.Result, &got); err != nil {
			w.t.Fatal(err)
		}
	}
	return got.Meta[mcpcall.MetaWord]
}

// wantSame checks that a reply has exactly the bytes of an earlier one.
func (w *world) wantSame(r, first mcpcall.Reply) {
	w.t.Helper()
	if string(r.Result) != string(first.Result) || string(r.Error) != string(first.Error) {
		w.t.Fatalf("another answer:\n%s%s\nwant\n%s%s", r.Result, r.Error, first.Result, first.Error)
	}
}

// record reads the receipt that a word or handle names.
func (w *world) record(id string) onceguard.Record {
	w.t.Helper()
	parsed, err := onceguard.ParseRequestID(id)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := w.store.Get(w.ctx, []onceguard.RequestID{parsed})
	if err != nil || a[0].Err != nil {
		w.t.Fatal(err, a)
	}
	return a[0].Record
}

// lockedText is a log that several goroutines write.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// soon bounds waits on events that a broken gate would never send.
const soon = 20 * time.Second

func await[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(soon):
		t.Fatal("waited in vain")
	}
	return v
}

var listAll = onceguard.Filter{Limit: 1000}
