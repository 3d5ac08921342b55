package webhookguard_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/memstore"
	"github.com/onceguard/onceguard/sqlitestore"
	"github.com/onceguard/onceguard/webhookguard"
)

var quiet = slog.New(slog.DiscardHandler)

// hook is a receiver under test, with what its handler saw.
type hook struct {
	t       *testing.T
	guard   *onceguard.Guard
	h       *webhookguard.Receiver
	end     error         // what the handler returns
	during  func()        // called inside the handler
	handled []string      // event ids
	refused []int         // statuses that Report was told
	later   time.Duration // how far the store's clock is ahead
}

func newHook(t *testing.T, change func(*webhookguard.Options)) *hook {
	t.Helper()
	k := &hook{t: t}
	store := memstore.New(memstore.Options{Now: func() time.Time { return time.Now().Add(k.later) }})
	g, err := onceguard.New(t.Context(), store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		t.Fatal(err)
	}
	k.guard = g
	o := webhookguard.Options{Endpoint: "billing", Source: webhookguard.Stripe("s"), Logger: quiet}
	o.Handle = func(_ context.Context, e webhookguard.Event) error {
		k.handled = append(k.handled, e.ID)
		if k.during != nil {
			k.during()
		}
		return k.end
	}
	o.Report = func(_ context.Context, r webhookguard.Refusal) { k.refused = append(k.refused, r.Status) }
	change(&o)
	if k.h, err = webhookguard.New(g, o); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *hook) post(h http.Header, body string) *httptest.ResponseRecorder {
	k.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header = h
	w := httptest.NewRecorder()
	k.h.ServeHTTP(w, r)
	return w
}

const event = `{"id":"evt_1","type":"invoice.paid","pending_webhooks":2}`

// deliver sends the event, signed now.
func (k *hook) deliver(body string) int {
	k.t.Helper()
	return k.post(sign("stripe", "s", "", body, time.Now()), body).Code
}

func (k *hook) want(status, wantStatus, handled int) {
	k.t.Helper()
	if status != wantStatus || len(k.handled) != handled {
		k.t.Errorf("status %d after %d runs, want %d after %d", status, len(k.handled), wantStatus, handled)
	}
}

func TestDeliveredOften(t *testing.T) {
	k := newHook(t, func(*webhookguard.Options) {})
	k.want(k.deliver(event), 200, 1)
	k.want(k.deliver(event), 200, 1)
	// Days later, with a new timestamp and signature, and Stripe's own count
	// changed: still the same event.
	k.later = 20 * 24 * time.Hour
	k.want(k.deliver(strings.Replace(event, "2}", "1}", 1)), 200, 1)
	// Also when its result was pruned.
	k.later = 60 * 24 * time.Hour
	prune(t, k.guard.Store())
	k.want(k.deliver(event), 200, 1)
	k.want(k.deliver(strings.Replace(event, "evt_1", "evt_2", 1)), 200, 2)
}

func prune(t *testing.T, s onceguard.Store) {
	t.Helper()
	for p, next := (onceguard.Pruned{}), ""; !p.Done; next = p.Next {
		var err error
		if p, err = s.Prune(t.Context(), onceguard.PruneRequest{Limit: 100, Cursor: next}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOldAttempt: the tolerance is about the attempt. An old one is refused, the
// same event signed anew is not.
func TestOldAttempt(t *testing.T) {
	k := newHook(t, func(*webhookguard.Options) {})
	w := k.post(sign("stripe", "s", "", event, time.Now().Add(-time.Hour)), event)
	k.want(w.Code, 401, 0)
	k.want(k.deliver(event), 200, 1)
}

func TestChangedBody(t *testing.T) {
	k := newHook(t, func(*webhookguard.Options) {})
	k.want(k.deliver(event), 200, 1)
	k.want(k.deliver(strings.Replace(event, "paid", "void", 1)), 422, 1)
	if len(k.refused) != 1 || k.refused[0] != 422 {
		t.Errorf("reported %v", k.refused)
	}
	k.want(k.deliver(event), 200, 1)
}

func TestUnsignedOccupiesNoKey(t *testing.T) {
	k := newHook(t, func(*webhookguard.Options) {})
	for _, h := range []http.Header{{}, {"Stripe-Signature": {"t=1,v1=00"}}, sign("stripe", "guess", "", event, time.Now())} {
		w := k.post(h, event)
		if w.Code != 401 && w.Code != 400 || len(k.handled) != 0 {
			t.Errorf("%d after %d runs", w.Code, len(k.handled))
		}
		if body := strings.TrimSpace(w.Body.String()); body != http.StatusText(w.Code) {
			t.Errorf("the answer says %q to a stranger", body)
		}
	}
	page, err := k.guard.Store().List(t.Context(), onceguard.Filter{})
	if err != nil || len(page.Records) != 0 {
		t.Errorf("%d records, %v", len(page.Records), err)
	}
	k.want(k.deliver(event), 200, 1)
	if len(k.refused) != 3 {
		t.Errorf("reported %v", k.refused)
	}
}

func TestInFlight(t *testing.T) {
	k := newHook(t, func(*webhookguard.Options) {})
	k.during = func() {
		w := k.post(sign("stripe", "s", "", event, time.Now()), event)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("a duplicate in flight got %d %v: its sender must try again", w.Code, w.Header())
		}
	}
	k.want(k.deliver(event), 200, 1)
}

func TestEndings(t *testing.T) {
	boom := errors.New("boom")
	t.Run("not executed is tried again", func(t *testing.T) {
		k := newHook(t, func(*webhookguard.Options) {})
		k.end = onceguard.NotExecuted(boom)
		k.want(k.deliver(event), 503, 1)
		k.end = nil
		k.want(k.deliver(event), 200, 2)
		k.want(k.deliver(event), 200, 2)
	})
	t.Run("refused is final and no success", func(t *testing.T) {
		k := newHook(t, func(*webhookguard.Options) {})
		k.end = onceguard.Refused(boom)
		k.want(k.deliver(event), 422, 1)
		k.end = nil
		k.want(k.deliver(event), 422, 1)
	})
	t.Run("unknown stays unknown", func(t *testing.T) {
		k := newHook(t, func(*webhookguard.Options) {})
		k.end = boom
		k.want(k.deliver(event), 503, 1)
		k.end = nil
		k.want(k.deliver(event), 503, 1)
	})
	t.Run("unknown is run again where declared harmless", func(t *testing.T) {
		k := newHook(t, func(o *webhookguard.Options) { o.Policy = onceguard.Rerun })
		k.end = boom
		k.want(k.deliver(event), 503, 1)
		k.end = nil
		k.want(k.deliver(event), 200, 2)
		k.want(k.deliver(event), 200, 2)
	})
	t.Run("an uncertain event that is kept may be acknowledged", func(t *testing.T) {
		k := newHook(t, func(o *webhookguard.Options) { o.KeepEvent, o.AckUncertain = true, true })
		k.end = boom
		k.want(k.deliver(event), 202, 1)
		k.want(k.deliver(event), 202, 1)
		page, err := k.guard.Store().List(t.Context(), onceguard.Filter{States: []onceguard.State{onceguard.Uncertain}})
		if err != nil || len(page.Records) != 1 || !strings.Contains(string(page.Records[0].Input), `"id":"evt_1"`) {
			t.Errorf("kept %+v, %v", page.Records, err)
		}
	})
	t.Run("a panic is unknown", func(t *testing.T) {
		k := newHook(t, func(*webhookguard.Options) {})
		k.during = func() { panic("boom") }
		func() {
			defer func() { _ = recover() }()
			k.deliver(event)
			t.Error("the panic did not go on")
		}()
		k.during = nil
		k.want(k.deliver(event), 503, 1)
	})
}

func TestOlderThanTheMemory(t *testing.T) {
	k := newHook(t, func(o *webhookguard.Options) {
		o.Limits.IdentityRetention, o.Limits.ResultRetention = 40*24*time.Hour, 30*24*time.Hour
	})
	body := fmt.Sprintf(`{"id":"evt_1","created":%d}`, time.Now().Add(-41*24*time.Hour).Unix())
	k.want(k.deliver(body), 422, 0)
	body = fmt.Sprintf(`{"id":"evt_2","created":%d}`, time.Now().Add(-39*24*time.Hour).Unix())
	k.want(k.deliver(body), 200, 1)
}

func TestStoreDown(t *testing.T) {
	k := newHook(t, func(*webhookguard.Options) {})
	_ = k.guard.Store().Close()
	k.want(k.deliver(event), 503, 0)
}

func TestSuperseded(t *testing.T) {
	over, failed := true, errors.New("the gate does not answer")
	var gate error
	k := newHook(t, func(o *webhookguard.Options) {
		o.Superseded = func(context.Context, webhookguard.Event) (bool, error) { return over, gate }
	})
	k.want(k.deliver(event), 200, 0)
	over = false
	k.want(k.deliver(event), 200, 0) // settled as done
	gate = failed
	other := strings.Replace(event, "evt_1", "evt_2", 1)
	k.want(k.deliver(other), 503, 0)
	gate = nil
	k.want(k.deliver(other), 200, 1)
}

func TestRequestShape(t *testing.T) {
	k := newHook(t, func(o *webhookguard.Options) { o.MaxBody = 100 })
	w := httptest.NewRecorder()
	k.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
	k.want(k.deliver(strings.Repeat(" ", 101)), 413, 0)
	k.want(k.deliver(`{"no":"id"}`), 400, 0)
}

func TestSlackChallenge(t *testing.T) {
	k := newHook(t, func(o *webhookguard.Options) { o.Source = webhookguard.Slack("s") })
	body := `{"type":"url_verification","challenge":"3eZbrw1aB"}`
	if w := k.post(sign("slack", "s", "", body, time.Now()), body); w.Code != 200 || w.Body.String() != "3eZbrw1aB" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := k.post(sign("slack", "guess", "", body, time.Now()), body); w.Code != 401 || strings.Contains(w.Body.String(), "3eZ") {
		t.Errorf("unsigned: %d %q", w.Code, w.Body)
	}
}

func TestNamedSendersDoNotMeet(t *testing.T) {
	k := newHook(t, func(*webhookguard.Options) {})
	k.want(k.deliver(event), 200, 1)
	o := webhookguard.Options{
		Endpoint: "billing", Source: webhookguard.Named("another", webhookguard.Stripe("s")), Logger: quiet,
		Handle: func(_ context.Context, e webhookguard.Event) error {
			k.handled = append(k.handled, e.Provider)
			return nil
		},
	}
	var err error
	if k.h, err = webhookguard.New(k.guard, o); err != nil {
		t.Fatal(err)
	}
	k.want(k.deliver(event), 200, 2)
	k.want(k.deliver(strings.Replace(event, "2}", "1}", 1)), 200, 2) // keeps the sender's meaning
}

func TestNewRefuses(t *testing.T) {
	k := newHook(t, func(*webhookguard.Options) {})
	handle := func(context.Context, webhookguard.Event) error { return nil }
	for name, c := range map[string]struct {
		o    webhookguard.Options
		want string
	}{
		"no endpoint":       {webhookguard.Options{Source: webhookguard.Stripe("s"), Handle: handle}, "Endpoint"},
		"no source":         {webhookguard.Options{Endpoint: "e", Handle: handle}, "Source"},
		"no handler":        {webhookguard.Options{Endpoint: "e", Source: webhookguard.Stripe("s")}, "Handle"},
		"no secret":         {webhookguard.Options{Endpoint: "e", Source: webhookguard.Stripe(), Handle: handle}, "no signing secret"},
		"empty secret":      {webhookguard.Options{Endpoint: "e", Source: webhookguard.GitHub("s", ""), Handle: handle}, "empty"},
		"not base64":        {webhookguard.Options{Endpoint: "e", Source: webhookguard.Named("x", webhookguard.Svix("whsec_!")), Handle: handle}, "base64"},
		"nameless":          {webhookguard.Options{Endpoint: "e", Source: webhookguard.HMAC(webhookguard.HMACOptions{Secrets: []string{"s"}}), Handle: handle}, "Name"},
		"short memory":      {webhookguard.Options{Endpoint: "e", Source: webhookguard.Stripe("s"), Handle: handle, Limits: onceguard.Limits{IdentityRetention: 29 * 24 * time.Hour}}, "at least"},
		"ack without store": {webhookguard.Options{Endpoint: "e", Source: webhookguard.Stripe("s"), Handle: handle, AckUncertain: true}, "KeepEvent"},
		"transactional":     {webhookguard.Options{Endpoint: "e", Source: webhookguard.Stripe("s"), Handle: handle, Policy: onceguard.Transactional}, "NewTx"},
	} {
		if _, err := webhookguard.New(k.guard, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
}

// TestTx: the event's rows, the version gate and the receipt are one commit.
func TestTx(t *testing.T) {
	store, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "receipts.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	g, err := onceguard.New(t.Context(), store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		t.Fatal(err)
	}
	k := &hook{t: t, guard: g}
	applied := map[string]bool{}
	k.h, err = webhookguard.NewTx(g, webhookguard.Options{Endpoint: "billing", Source: webhookguard.Stripe("s"), Logger: quiet},
		func(ctx context.Context, tx *sql.Tx, e webhookguard.Event) error {
			if _, err := tx.ExecContext(ctx, webhookguard.VersionTable); err != nil {
				return err
			}
			var version int64
			_, _ = fmt.Sscanf(e.Type, "v%d", &version)
			newer, err := webhookguard.Advance(ctx, tx, "invoice-1", version)
			if err != nil {
				return err
			}
			k.handled = append(k.handled, e.ID)
			applied[e.ID] = newer
			return k.end
		})
	if err != nil {
		t.Fatal(err)
	}
	send := func(id string, version int) int {
		return k.deliver(fmt.Sprintf(`{"id":%q,"type":"v%d"}`, id, version))
	}
	k.end = errors.New("anything")
	k.want(send("evt_1", 5), 503, 1) // rolled back: nothing is uncertain
	k.end = nil
	k.want(send("evt_1", 5), 200, 2)
	k.want(send("evt_1", 5), 200, 2)
	k.want(send("evt_2", 4), 200, 3) // out of order
	k.want(send("evt_3", 6), 200, 4)
	if !applied["evt_1"] || applied["evt_2"] || !applied["evt_3"] {
		t.Errorf("applied %v, want the rolled-back move taken back and the older version held off", applied)
	}
	if _, err := webhookguard.VersionSQL("x; DROP TABLE y"); err == nil {
		t.Error("a table name with a statement in it was accepted")
	}
	if _, err := webhookguard.NewTx(g, webhookguard.Options{Endpoint: "e", Source: webhookguard.Stripe("s"), Policy: onceguard.Rerun},
		func(context.Context, *sql.Tx, webhookguard.Event) error { return nil }); err == nil {
		t.Error("NewTx took another policy")
	}
}

// TestAdapter holds the receiver to the suite for adapters. A sender learns a
// status and nothing else, 503 for all that is to be sent again; the suite learns
// from the log why.
func TestAdapter(t *testing.T) {
	guardtest.Run(t, guardtest.Adapter{NoReply: true, Open: func(t testing.TB, g *onceguard.Guard, h guardtest.Handler) guardtest.Deliver {
		r, err := webhookguard.New(g, webhookguard.Options{
			Endpoint: "suite", Source: webhookguard.GitHub("s"), Logger: slog.New(logged{}), Limits: onceguard.Limits{Wait: 50 * time.Millisecond},
			Handle: func(ctx context.Context, e webhookguard.Event) error {
				_, err := h(ctx, guardtest.Message{ID: e.ID, Payload: string(e.Body)})
				return err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context, m guardtest.Message) (answer guardtest.Answer) {
			defer func() {
				if p := recover(); p != nil {
					answer = guardtest.Answer{Verdict: guardtest.Uncertain, Detail: fmt.Sprint(p)}
				}
			}()
			var why error
			req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(m.Payload)).WithContext(context.WithValue(ctx, whyKey{}, &why))
			req.Header = sign("github", "s", m.ID, m.Payload, time.Now())
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			return guardtest.Answer{Verdict: learned(w.Code, why), Detail: fmt.Sprint(w.Code, why)}
		}
	}})
}

func learned(status int, why error) guardtest.Verdict {
	switch {
	case status == 200:
		return guardtest.Done
	case status == 422 && errors.Is(why, onceguard.ErrMismatch):
		return guardtest.Mismatch
	case status == 422:
		return guardtest.Refused
	case status == 503 && errors.Is(why, onceguard.ErrInProgress):
		return guardtest.InProgress
	case status == 503 && onceguard.MayHaveRun(why):
		return guardtest.Uncertain
	case status == 503:
		return guardtest.Again
	}
	return guardtest.Verdict(fmt.Sprintf("status %d", status))
}

type whyKey struct{}

// logged is a slog.Handler that hands a record's error to its context.
type logged struct{}

func (logged) Enabled(context.Context, slog.Level) bool { return true }

func (logged) Handle(ctx context.Context, r slog.Record) error {
	if to, ok := ctx.Value(whyKey{}).(*error); ok {
		r.Attrs(func(a slog.Attr) bool {
			if err, ok := a.Value.Any().(error); ok {
				*to = err
			}
			return true
		})
	}
	return nil
}

func (h logged) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h logged) WithGroup(string) slog.Handler      { return h }
