package onceguard_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

func TestResultsThatCannotBeKept(t *testing.T) {
	big := strings.Repeat("x", onceguard.DefaultMaxResult)
	for name, tc := range map[string]struct {
		value any
		why   string
	}{
		"too large":    {big, "too-large"},
		"not a number": {math.NaN(), "unstorable"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				r := request("1")
				fn := func(context.Context, *onceguard.Attempt) (any, error) { w.runs.Add(1); return tc.value, nil }
				rec, err := onceguard.Do(w.ctx, w.guard, r, fn)
				e := w.want(err, onceguard.ErrNoResult)
				if rec.Value == nil || rec.State != onceguard.Succeeded || !e.MayHaveRun || !strings.Contains(e.Reason, tc.why) {
					t.Errorf("the owner got %T and %+v", rec.Value, e)
				}
				rec, err = onceguard.Do(w.ctx, w.guard, r, fn)
				e = w.want(err, onceguard.ErrNoResult)
				if rec.Value != nil || e.State != onceguard.Succeeded || e.Since.IsZero() {
					t.Errorf("replay: %v, %+v", rec.Value, e)
				}
				w.wantRuns(1)
			})
		})
	}
	t.Run("just fits", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := request("1")
			r.Limits.MaxResult = 7
			for range 2 {
				rec, err := onceguard.Do(w.ctx, w.guard, r, func(context.Context, *onceguard.Attempt) (string, error) { return "12345", nil })
				if err != nil || rec.Value != "12345" {
					t.Errorf("%q, %v", rec.Value, err)
				}
			}
		})
	})
}

func TestUndecodable(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		_, err := onceguard.Do(w.ctx, w.guard, request("1"), func(context.Context, *onceguard.Attempt) (int, error) {
			t.Error("ran again")
			return 0, nil
		})
		e := w.want(err, onceguard.ErrUndecodable)
		if raw, ok := e.Value.([]byte); !ok || string(raw) != `{"id":"re_1","cents":500}` || !e.MayHaveRun || !strings.Contains(e.Error(), "effect happened") {
			t.Errorf("%v with %v", e, e.Value)
		}
		r := request("2")
		_, _ = w.do(r, w.act(refund{ID: "declined"}, onceguard.Refused(errors.New("no"))))
		_, err = onceguard.Do(w.ctx, w.guard, r, func(context.Context, *onceguard.Attempt) (int, error) { return 0, nil })
		if e := w.want(err, onceguard.ErrUndecodable); e.MayHaveRun || !strings.Contains(e.Error(), "did not happen") {
			t.Errorf("%v", e)
		}
	})
}

// swapped is a store whose answers carry another body.
type swapped struct {
	*faults
	change func(*onceguard.Record)
}

func (s swapped) Claim(ctx context.Context, q []onceguard.Claim) ([]onceguard.Answer, error) {
	a, err := s.faults.Claim(ctx, q)
	for i := range a {
		if a[i].Outcome == onceguard.Settled {
			s.change(&a[i].Record)
		}
	}
	return a, err
}

func TestCorruptIsAnAlarmAndNeverRuns(t *testing.T) {
	kek := bytes.Repeat([]byte{7}, 32)
	for name, tc := range map[string]struct {
		kek    []byte
		change func(*onceguard.Record)
	}{
		"flipped bit": {nil, func(r *onceguard.Record) { r.Result.Body[0] ^= 1 }},
		"emptied":     {nil, func(r *onceguard.Record) { r.Result.Body = nil }},
		"sealed, digest made good": {kek, func(r *onceguard.Record) {
			r.Result.Body[20] ^= 1
			r.Result = onceguard.NewResult(r.Result.Type, r.Result.Body)
		}},
		"sealed, too short": {kek, func(r *onceguard.Record) { r.Result = onceguard.NewResult(r.Result.Type, []byte("x")) }},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				w.mustDo(request("1"), w.ok())
				g, err := onceguard.New(w.ctx, swapped{w.store, tc.change}, w.options(func(o *onceguard.Options) { o.KeyEncryptionKey = tc.kek }))
				if err != nil {
					t.Fatal(err)
				}
				_, err = onceguard.Do(w.ctx, g, request("1"), w.never())
				if e := w.want(err, onceguard.ErrCorrupt); !e.MayHaveRun {
					t.Errorf("%v", e)
				}
				if w.events.count(onceguard.EventCorrupt) != 1 {
					t.Error("no alarm")
				}
			}, func(o *onceguard.Options) { o.KeyEncryptionKey = tc.kek })
		})
	}
}

func TestRetention(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		w.mustDo(r, w.ok())
		refused := request("2")
		_, _ = w.do(refused, w.act(refund{"why", 1}, onceguard.Refused(errors.New("declined"))))
		s := w.guard.Sweeper(onceguard.SweeperOptions{})
		time.Sleep(onceguard.DefaultResultRetention + time.Hour)
		if done, err := s.Prune(w.ctx, true); err != nil || done.Tombstoned != 2 || w.record(r).Pruned {
			t.Errorf("dry run: %+v, %v, pruned %v", done, err, w.record(r).Pruned)
		}
		if done, err := s.Prune(w.ctx, false); err != nil || done.Tombstoned != 2 || !done.Done {
			t.Errorf("%+v, %v", done, err)
		}
		_, err := w.do(r, w.never())
		e := w.want(err, onceguard.ErrNoResult)
		if !strings.Contains(e.Reason, "pruned") || e.State != onceguard.Succeeded || !e.MayHaveRun || e.SettledBy != "owner" {
			t.Errorf("%+v", e)
		}
		_, err = w.do(refused, w.never())
		if e := w.want(err, onceguard.ErrRefused); e.Reason != "declined" {
			t.Errorf("a pruned refusal: %+v", e)
		}
		time.Sleep(onceguard.DefaultIdentityRetention)
		if done, err := s.Prune(w.ctx, false); err != nil || done.Deleted != 2 {
			t.Errorf("%+v, %v", done, err)
		}
	})
}

func TestExpiredKeyNeverRuns(t *testing.T) {
	virtual(t, func(w *world) { // fake time starts in 2000; keys carry times from 2020
		time.Sleep(time.Until(time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC)))
		const born2026 = "019b8a3a-6c00-7abc-8def-0123456789ab" // UUIDv7 of January 2026
		old := onceguard.Request{Action: "refund.create", Key: onceguard.KeyOf("event", born2026)}
		at, ok := old.Key.IssuedAt()
		if !ok || at.Year() != 2026 {
			t.Fatalf("the key says %s, %v", at, ok)
		}
		_, err := w.do(old, w.never())
		if e := w.want(err, onceguard.ErrExpired); e.MayHaveRun || !strings.Contains(e.Error(), "2026") {
			t.Errorf("%v", e)
		}
		hook := onceguard.Request{Action: "hook", Key: onceguard.RawKey("evt_1").WithIssuedAt(time.Now().Add(-401 * 24 * time.Hour))}
		_, err = w.do(hook, w.never())
		w.want(err, onceguard.ErrExpired)
		hook.Limits.IdentityRetention = onceguard.Forever
		w.mustDo(hook, w.ok())
	})
}

func TestFrozen(t *testing.T) {
	virtual(t, func(w *world) {
		done := request("done")
		w.mustDo(done, w.ok())
		w.store.SetEpoch("after failover")
		_, err := w.do(request("1"), w.never())
		if e := w.want(err, onceguard.ErrFrozen); e.MayHaveRun {
			t.Errorf("%v", e)
		}
		w.mustDo(done, w.never()) // what is known is still told
		w.mustDo(under(onceguard.Rerun, "2"), w.ok())
		if w.events.count(onceguard.EventFrozen) == 0 {
			t.Error("no event")
		}
		g := w.another()
		if n := w.events.count(onceguard.EventFrozen); n != 2 {
			t.Errorf("%d events; New did not say that the store is frozen", n)
		}
		info, err := w.store.Info(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Acknowledge(w.ctx, onceguard.Acknowledgement{Epoch: info.Epoch, By: "ann", Reason: "checked"}); err != nil {
			t.Fatal(err)
		}
		if _, err := onceguard.Do(w.ctx, g, request("1"), w.ok()); err != nil {
			t.Error(err)
		}
	})
}

func TestRetentionShorterThanTheRetryWindowIsWarnedAboutOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		limits onceguard.Limits
		want   string
	}{
		"result":   {onceguard.Limits{RetryWindow: 60 * 24 * time.Hour}, "would get no result"},
		"identity": {onceguard.Limits{RetryWindow: 500 * 24 * time.Hour}, "would run again"},
		"forever":  {onceguard.Limits{RetryWindow: 500 * 24 * time.Hour, ResultRetention: onceguard.Forever, IdentityRetention: onceguard.Forever}, ""},
		"fits":     {onceguard.Limits{RetryWindow: 3 * 24 * time.Hour}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				for range 3 {
					r := request("1")
					r.Limits = tc.limits
					w.mustDo(r, w.ok())
				}
				var said []string
				for _, e := range w.events.all() {
					if e.Kind == onceguard.EventWarning {
						said = append(said, e.Detail)
					}
				}
				switch {
				case tc.want == "" && len(said) != 0:
					t.Errorf("warned %q", said)
				case tc.want != "" && (len(said) != 1 || !strings.Contains(said[0], tc.want)):
					t.Errorf("warned %q, want one that says %q", said, tc.want)
				}
			})
		})
	}
}

func TestCodecs(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		r.Codec = onceguard.Raw
		for range 2 {
			rec, err := onceguard.Do(w.ctx, w.guard, r, func(context.Context, *onceguard.Attempt) ([]byte, error) { return []byte{0, 255, 1}, nil })
			if err != nil || !bytes.Equal(rec.Value, []byte{0, 255, 1}) {
				t.Errorf("%v, %v", rec.Value, err)
			}
		}
		if typ := w.record(r).Result.Type; typ != "raw []uint8" {
			t.Errorf("type %q", typ)
		}
		if _, err := onceguard.Raw.Encode(7); err == nil {
			t.Error("raw encoded an int")
		}
		if err := onceguard.Raw.Decode(nil, new(int)); err == nil {
			t.Error("raw decoded into an int")
		}
	})
}
