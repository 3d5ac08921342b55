package onceguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onceguard/onceguard"
)

// lossy changes when it is encoded: its blank is not stored.
type lossy struct {
	Kept string
	Lost string `json:"-"`
}

func TestFirstRunAndReplayCannotDiffer(t *testing.T) {
	virtual(t, func(w *world) {
		runs := 0
		fn := func(context.Context, *onceguard.Attempt) (lossy, error) {
			runs++
			return lossy{Kept: "a<b", Lost: "only in memory"}, nil
		}
		first, err := onceguard.Do(w.ctx, w.guard, request("1"), fn)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		again, err := onceguard.Do(w.ctx, w.guard, request("1"), fn)
		if err != nil {
			t.Fatal(err)
		}
		if want := (lossy{Kept: "a<b"}); first.Value != want || again.Value != want {
			t.Errorf("first %+v, replay %+v, want what the stored bytes say: %+v", first.Value, again.Value, want)
		}
		if first.Replayed || !again.Replayed || runs != 1 {
			t.Errorf("replayed %v then %v after %d runs", first.Replayed, again.Replayed, runs)
		}
		first.Replayed = true
		if diff := cmp.Diff(first, again, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("receipts differ (-first +replay)\n%s", diff)
		}
		if string(w.record(request("1")).Result.Body) != `{"Kept":"a<b"}` {
			t.Errorf("stored %s", w.record(request("1")).Result.Body)
		}
		if first.SettledBy != "owner" || first.Attempt != 1 || first.State != onceguard.Succeeded || first.SettledAt.IsZero() || first.RequestID != w.id(request("1")) {
			t.Errorf("receipt %+v", first)
		}
	})
}

func TestHotPathIsTwoWritesAndAReplayIsOne(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		if c, s, g, r := w.store.count("claim"), w.store.count("settle"), w.store.count("get"), w.store.count("renew"); c != 1 || s != 1 || g != 0 || r != 0 {
			t.Errorf("first run: %d claims, %d settles, %d gets, %d renewals; want 1, 1, 0, 0", c, s, g, r)
		}
		w.mustDo(request("1"), w.never())
		if c, s, g := w.store.count("claim"), w.store.count("settle"), w.store.count("get"); c != 2 || s != 1 || g != 0 {
			t.Errorf("with a replay: %d claims, %d settles, %d gets; want 2, 1, 0", c, s, g)
		}
	}, uncached)
}

func TestNotExecutedMayRunAgain(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		refused := errors.New("connection refused")
		_, err := w.do(r, w.act(refund{}, onceguard.NotExecuted(refused)))
		e := w.want(err, onceguard.ErrNotExecuted)
		if !errors.Is(err, refused) || e.MayHaveRun || onceguard.MayHaveRun(err) {
			t.Errorf("error %v, may have run %v", err, e.MayHaveRun)
		}
		w.wantState(r, onceguard.Released, 1)
		rec := w.mustDo(r, w.ok())
		if rec.Attempt != 2 || rec.Replayed {
			t.Errorf("receipt %+v", rec)
		}
		w.wantRuns(2)
	})
}

func TestRefusedIsReplayedWithItsValue(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		declined := refund{ID: "declined_7"}
		check := func(rec onceguard.Receipt[refund], err error, replayed bool) {
			t.Helper()
			e := w.want(err, onceguard.ErrRefused)
			if rec.Value != declined || rec.Replayed != replayed || e.Reason != "card declined" || e.MayHaveRun || e.SettledBy != "owner" {
				t.Errorf("receipt %+v, error %+v", rec, e)
			}
		}
		rec, err := w.do(r, w.act(declined, onceguard.Refused(errors.New("card declined"))))
		check(rec, err, false)
		rec, err = w.do(r, w.never())
		check(rec, err, true)
		w.wantRuns(1)
	})
}

func TestRefusedWithoutValue(t *testing.T) {
	virtual(t, func(w *world) {
		for range 2 {
			rec, err := w.do(request("1"), w.act(refund{}, onceguard.Refused(errors.New("no such order"))))
			w.want(err, onceguard.ErrRefused)
			if rec.Value != (refund{}) || rec.State != onceguard.Failed {
				t.Errorf("receipt %+v", rec)
			}
		}
		w.wantRuns(1)
	})
}

func TestUnknownErrorIsUncertain(t *testing.T) {
	for name, unknown := range map[string]error{
		"plain":          errors.New("EOF"),
		"timeout":        context.DeadlineExceeded,
		"a wrapped EOF":  fmt.Errorf("posting: %w", io.ErrUnexpectedEOF),
		"its own cancel": context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				r := request("1")
				_, err := w.do(r, w.act(refund{}, unknown))
				e := w.want(err, onceguard.ErrUncertain)
				if !errors.Is(err, unknown) || !e.MayHaveRun || e.Attempt != 1 || e.Since.IsZero() {
					t.Errorf("owner got %+v", e)
				}
				rec := w.wantState(r, onceguard.Uncertain, 1)
				if rec.Reason != unknown.Error() {
					t.Errorf("reason %q", rec.Reason)
				}
				start := time.Now()
				_, err = w.do(r, w.never())
				e = w.want(err, onceguard.ErrUncertain)
				if errors.Is(err, unknown) || e.Err != nil || !e.MayHaveRun {
					t.Errorf("duplicate got the owner's error: %+v", e)
				}
				if time.Since(start) != 0 {
					t.Errorf("the duplicate waited %s", time.Since(start))
				}
				w.wantRuns(1)
			})
		})
	}
}

func TestPanicIsStoredAndGoesOn(t *testing.T) {
	virtual(t, func(w *world) {
		r, value := request("1"), errors.New("index out of range")
		func() {
			defer func() {
				if got := recover(); got != value {
					t.Errorf("recovered %v, want the effect's own value", got)
				}
				// Stored before it went on.
				if rec := w.wantState(r, onceguard.Uncertain, 1); !strings.Contains(rec.Reason, "panicked: index out of range") {
					t.Errorf("reason %q", rec.Reason)
				}
			}()
			_, _ = w.do(r, func(context.Context, *onceguard.Attempt) (refund, error) { panic(value) })
		}()
		_, err := w.do(r, w.never())
		w.want(err, onceguard.ErrUncertain)
	})
}

// hostile panics when it is asked what it is.
type hostile struct{}

func (*hostile) Error() string { panic("no text") }

func TestPanicOfTheEffectsError(t *testing.T) {
	virtual(t, func(w *world) {
		func() {
			defer func() {
				if got := recover(); got != "no text" {
					t.Errorf("recovered %v", got)
				}
			}()
			_, _ = w.do(request("1"), w.act(refund{}, &hostile{}))
		}()
		w.wantState(request("1"), onceguard.Uncertain, 1)
	})
}

func TestGoexitIsStored(t *testing.T) {
	virtual(t, func(w *world) {
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = w.do(request("1"), func(context.Context, *onceguard.Attempt) (refund, error) {
				runtime.Goexit()
				return refund{}, nil
			})
			t.Error("Do returned")
		})
		wg.Wait()
		if rec := w.wantState(request("1"), onceguard.Uncertain, 1); !strings.Contains(rec.Reason, "Goexit") {
			t.Errorf("reason %q", rec.Reason)
		}
		_, err := w.do(request("1"), w.never())
		w.want(err, onceguard.ErrUncertain)
	})
}

func TestNested(t *testing.T) {
	virtual(t, func(w *world) {
		var inner, deeper error
		rec, err := w.do(request("outer"), func(ctx context.Context, a *onceguard.Attempt) (refund, error) {
			child := onceguard.Request{Action: "mail.send", Key: a.Slot("buyer")}
			out, err := onceguard.Do(ctx, w.guard, child, func(ctx context.Context, _ *onceguard.Attempt) (refund, error) {
				_, deeper = onceguard.Do(ctx, w.guard, request("outer"), w.never())
				return refund{ID: "mail_1"}, nil
			})
			if err != nil {
				t.Errorf("another key inside: %v", err)
			}
			_, inner = onceguard.Do(ctx, w.guard, request("outer"), w.never())
			return out.Value, nil
		})
		if err != nil || rec.Value.ID != "mail_1" {
			t.Fatalf("%+v, %v", rec, err)
		}
		for _, err := range []error{inner, deeper} {
			if e := w.want(err, onceguard.ErrInvalid); !strings.Contains(e.Error(), "wait for itself") || e.MayHaveRun {
				t.Errorf("nested: %v", e)
			}
		}
	})
}

func TestInvalidRequestsClaimNothing(t *testing.T) {
	type unstorable struct{ C chan int }
	virtual(t, func(w *world) {
		for name, r := range map[string]onceguard.Request{
			"no key":            {Action: "refund.create"},
			"no action":         {Key: onceguard.KeyOf("order", "1")},
			"both inputs":       {Action: "a", Key: onceguard.KeyOf("order", "1"), Input: 1, RawInput: []byte("1")},
			"bad input":         {Action: "a", Key: onceguard.KeyOf("order", "1"), Input: make(chan int)},
			"bad keep":          {Action: "a", Key: onceguard.KeyOf("order", "1"), Keep: make(chan int)},
			"keep too large":    {Action: "a", Key: onceguard.KeyOf("order", "1"), Keep: strings.Repeat("x", 1<<20)},
			"no horizon":        {Action: "a", Key: onceguard.KeyOf("order", "1"), Policy: onceguard.Policy{Kind: onceguard.SafeRetryKind}},
			"transactional":     {Action: "a", Key: onceguard.KeyOf("order", "1"), Policy: onceguard.Transactional},
			"short lease":       {Action: "a", Key: onceguard.KeyOf("order", "1"), Limits: onceguard.Limits{Lease: time.Millisecond}},
			"negative MaxRun":   {Action: "a", Key: onceguard.KeyOf("order", "1"), Limits: onceguard.Limits{MaxRun: -1}},
			"retention upended": {Action: "a", Key: onceguard.KeyOf("order", "1"), Limits: onceguard.Limits{ResultRetention: 2 * time.Hour, IdentityRetention: time.Hour}},
		} {
			_, err := w.do(r, w.never())
			if e := w.want(err, onceguard.ErrInvalid); e.MayHaveRun {
				t.Errorf("%s: %v", name, e)
			}
		}
		_, err := onceguard.Do(w.ctx, w.guard, request("1"), func(context.Context, *onceguard.Attempt) (unstorable, error) {
			t.Error("the effect ran")
			return unstorable{}, nil
		})
		w.want(err, onceguard.ErrInvalid)
		_, err = onceguard.Do(w.ctx, w.guard.Scoped(""), request("1"), w.never())
		w.want(err, onceguard.ErrInvalid)
		if n := w.store.count("claim"); n != 0 {
			t.Errorf("%d claims were sent", n)
		}
	})
}

func TestStorableTypes(t *testing.T) {
	virtual(t, func(w *world) {
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		got, err := onceguard.Do(w.ctx, w.guard, request("1"), func(context.Context, *onceguard.Attempt) (map[time.Time]json.RawMessage, error) {
			return map[time.Time]json.RawMessage{at: json.RawMessage(`[1]`)}, nil
		})
		if err != nil || string(got.Value[at]) != "[1]" {
			t.Errorf("%v, %v", got.Value, err)
		}
		_, err = onceguard.Do(w.ctx, w.guard, request("2"), func(context.Context, *onceguard.Attempt) (map[bool]int, error) {
			t.Error("ran")
			return nil, nil
		})
		w.want(err, onceguard.ErrInvalid)
	})
}

func TestScopesAreApart(t *testing.T) {
	virtual(t, func(w *world) {
		for _, scope := range []string{"tenant-a", "tenant-b"} {
			rec, err := onceguard.Do(w.ctx, w.guard.Scoped(scope), request("1"), w.act(refund{ID: scope}, nil))
			if err != nil || rec.Replayed || rec.Value.ID != scope {
				t.Errorf("%s: %+v, %v", scope, rec, err)
			}
		}
		w.wantRuns(2)
	})
}

func TestAction(t *testing.T) {
	type input struct {
		Order string
		Cents int
		Note  string
	}
	refuse := errors.New("HTTP 422")
	virtual(t, func(w *world) {
		a := onceguard.Action[input, refund]{
			Name:     "refund.create",
			Key:      func(in input) onceguard.Key { return onceguard.KeyOf("order", in.Order) },
			Identity: func(in input) any { return in.Cents },
			Classify: func(err error) error {
				if errors.Is(err, refuse) {
					return onceguard.Refused(err)
				}
				return nil // undecided is unknown
			},
			Run: func(_ context.Context, at *onceguard.Attempt, in input) (refund, error) {
				w.runs.Add(1)
				switch in.Order {
				case "refuse":
					return refund{}, refuse
				case "unknown":
					return refund{}, io.EOF
				}
				return refund{at.Action() + "/" + at.Scope() + "/" + fmt.Sprint(at.Number()), in.Cents}, nil
			},
		}
		rec, err := a.Do(w.ctx, w.guard, input{"1", 5, "first"})
		if err != nil || rec.Value != (refund{"refund.create/default/1", 5}) {
			t.Fatalf("%+v, %v", rec, err)
		}
		rec, err = a.Do(w.ctx, w.guard, input{"1", 5, "the note is no identity"})
		if err != nil || !rec.Replayed {
			t.Errorf("%+v, %v", rec, err)
		}
		_, err = a.Do(w.ctx, w.guard, input{"1", 6, "first"})
		w.want(err, onceguard.ErrMismatch)
		_, err = a.Do(w.ctx, w.guard, input{Order: "refuse"})
		w.want(err, onceguard.ErrRefused)
		_, err = a.Do(w.ctx, w.guard, input{Order: "unknown"})
		w.want(err, onceguard.ErrUncertain)

		a.Run = nil
		_, err = a.Do(w.ctx, w.guard, input{Order: "2"})
		w.want(err, onceguard.ErrInvalid)
		a.Key = nil
		_, err = a.Do(w.ctx, w.guard, input{Order: "2"})
		if e := w.want(err, onceguard.ErrInvalid); !strings.Contains(e.Error(), "no Key function") {
			t.Error(e)
		}
	})
}

func TestPreviewClaimsNothing(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		seen, err := w.guard.Preview(w.ctx, r)
		id, print, rec := seen.RequestID, seen.Fingerprint, seen.Record
		if err != nil || id != w.id(r) || print.IsZero() || rec.State != onceguard.Absent {
			t.Errorf("absent: %s, %s, %s, %v", id, print, rec.State, err)
		}
		if w.store.count("claim") != 0 || w.record(r).State != onceguard.Absent {
			t.Error("Preview left something behind")
		}
		w.mustDo(r, w.ok())
		seen, err = w.guard.Preview(w.ctx, r)
		rec = seen.Record
		if err != nil || rec.State != onceguard.Succeeded || rec.Fingerprint != print {
			t.Errorf("after: %+v, %v", rec, err)
		}
		r.Input = "another"
		seen, err = w.guard.Preview(w.ctx, r)
		rec = seen.Record
		w.want(err, onceguard.ErrMismatch)
		if rec.State != onceguard.Absent {
			t.Errorf("a mismatch reveals %+v", rec)
		}
		w.store.set(only("get", down))
		_, err = w.guard.Preview(w.ctx, r)
		w.want(err, onceguard.ErrNotRun)
		_, err = w.guard.Preview(w.ctx, onceguard.Request{Action: "a"})
		w.want(err, onceguard.ErrInvalid)
	})
}
