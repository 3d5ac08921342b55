package onceguard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// TestNothingSecretIsObserved runs a request through every kind of ending and
// looks for its input, result and tokens in all that is said about it.
func TestNothingSecretIsObserved(t *testing.T) {
	const input, result = "canary-input-4929", "canary-result-1234"
	var log bytes.Buffer
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	virtual(t, func(w *world) {
		var said []string
		tokens := map[string]bool{}
		secret := func(id string) onceguard.Request {
			return onceguard.Request{Action: "card.charge", Key: onceguard.KeyOf("order", id), Input: input, Keep: input}
		}
		var mu sync.Mutex // claims are sent again in the background
		tell := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, s)
		}
		watch := watched{w.store, func(tok onceguard.Token) {
			tell(fmt.Sprintf("%v %+v %#v %s", tok, tok, tok, tok))
			mu.Lock()
			defer mu.Unlock()
			tokens[string(tok[:])] = true
			tokens[fmt.Sprintf("%x", tok[:])] = true
		}}
		g, err := onceguard.New(w.ctx, watch, w.options(func(o *onceguard.Options) { o.Observer = both{w.events, onceguard.SlogObserver(slog.New(handler))} }))
		if err != nil {
			t.Fatal(err)
		}
		run := func(id string, verdict error) {
			rec, err := onceguard.Do(w.ctx, g, secret(id), w.act(refund{ID: result}, verdict))
			tell(fmt.Sprintf("%v", err))
			_ = rec
		}
		for range 2 {
			run("ok", nil)
			run("refused", onceguard.Refused(errors.New("declined")))
			run("released", onceguard.NotExecuted(errors.New("dial")))
			run("unknown", errEOF)
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = onceguard.Do(w.ctx, g, secret("panic"), func(context.Context, *onceguard.Attempt) (refund, error) { panic("boom") })
		}()
		other := secret("ok")
		other.Input = input + "2"
		_, err = onceguard.Do(w.ctx, g, other, w.never())
		tell(err.Error())
		_, err = onceguard.Do(w.ctx, g, secret("ok"), func(context.Context, *onceguard.Attempt) (int, error) { return 0, nil })
		tell(w.want(err, onceguard.ErrUndecodable).Error())
		w.store.set(only("settle", lostBefore))
		run("unsettled", nil)
		w.store.set(only("claim", lostAfter))
		run("not run", nil)
		w.store.set(nil)
		time.Sleep(time.Hour)
		if _, err := g.Sweeper(onceguard.SweeperOptions{}).Sweep(w.ctx); err != nil {
			t.Error(err)
		}
		w.close(g)
		for _, e := range w.events.all() {
			tell(fmt.Sprintf("%+v %v", e, e.Err))
		}
		tell(log.String())
		if len(tokens) < 10 || !strings.Contains(log.String(), "event=uncertain") || !strings.Contains(log.String(), "level=DEBUG") {
			t.Fatalf("the test saw too little: %d tokens, log %s", len(tokens), log.String())
		}
		all := strings.Join(said, "\n")
		for canary := range tokens {
			if strings.Contains(all, canary) {
				t.Errorf("an owner token was told: %q", canary)
			}
		}
		for _, canary := range []string{input, result} {
			if i := strings.Index(all, canary); i >= 0 {
				t.Errorf("%q was told: …%s…", canary, all[max(0, i-200):i+40])
			}
		}
	})
}

type watched struct {
	*faults
	see func(onceguard.Token)
}

func (s watched) Claim(ctx context.Context, q []onceguard.Claim) ([]onceguard.Answer, error) {
	s.see(q[0].Owner)
	return s.faults.Claim(ctx, q)
}

type both [2]onceguard.Observer

func (b both) Observe(ctx context.Context, e onceguard.Event) {
	for _, o := range b {
		o.Observe(ctx, e)
	}
}

func TestSlogLevels(t *testing.T) {
	debug := map[onceguard.EventKind]bool{
		onceguard.EventClaimed: true, onceguard.EventReplayed: true, onceguard.EventSettled: true, onceguard.EventReleased: true,
		onceguard.EventWaiting: true, onceguard.EventResolved: true, onceguard.EventSwept: true, onceguard.EventPruned: true,
	}
	alarm := map[onceguard.EventKind]bool{onceguard.EventConflict: true, onceguard.EventCorrupt: true, onceguard.EventForgotten: true}
	for _, kind := range onceguard.Events {
		want := "level=WARN"
		if debug[kind] {
			want = "level=DEBUG"
		} else if alarm[kind] {
			want = "level=ERROR"
		}
		var b bytes.Buffer
		o := onceguard.SlogObserver(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
		o.Observe(context.Background(), onceguard.Event{Kind: kind, RequestID: onceguard.RequestID{1}, Scope: "s", Action: "a", Count: 3, Detail: "why", Err: errEOF})
		for _, part := range []string{want, "event=" + string(kind), "request_id=req_", "detail=why", "error=EOF", "count=3"} {
			if !strings.Contains(b.String(), part) {
				t.Errorf("%s: %q lacks %q", kind, b.String(), part)
			}
		}
		quiet := bytes.Buffer{}
		o = onceguard.SlogObserver(slog.New(slog.NewTextHandler(&quiet, nil)))
		o.Observe(context.Background(), onceguard.Event{Kind: kind})
		if (quiet.Len() == 0) != debug[kind] {
			t.Errorf("%s at the default level: %q", kind, quiet.String())
		}
	}
}

func TestEventsOfARun(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), func(context.Context, *onceguard.Attempt) (refund, error) {
			time.Sleep(3 * time.Second)
			return refund{}, nil
		})
		w.mustDo(request("1"), w.never())
		var got []string
		for _, e := range w.events.all() {
			got = append(got, fmt.Sprintf("%s %s %s %d %s %s", e.Kind, e.Action, e.Scope, e.Attempt, e.Transition, e.Took))
		}
		want := "claimed refund.create default 1 none 0s|settled refund.create default 1 T7 3s|replayed refund.create default 1 none 0s"
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("events %s\nwant   %s", s, want)
		}
	})
}
