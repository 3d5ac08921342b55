package onceguard_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

func kek(b byte) func(*onceguard.Options) {
	return func(o *onceguard.Options) { o.KeyEncryptionKey = bytes.Repeat([]byte{b}, 32) }
}

func TestFingerprintKeyRotation(t *testing.T) {
	rotate := func(w *world) {
		w.Helper()
		if id, err := onceguard.RotateFingerprintKey(w.ctx, w.store, nil); err != nil || id != "0002" {
			w.Fatalf("%q, %v", id, err)
		}
	}
	other := request("1")
	other.Input = "another"

	t.Run("new guards know old records", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.mustDo(request("1"), w.ok())
			rotate(w)
			g := w.another()
			if rec, err := onceguard.Do(w.ctx, g, request("1"), w.never()); err != nil || !rec.Replayed {
				t.Errorf("%v", err)
			}
			_, err := onceguard.Do(w.ctx, g, other, w.never())
			w.want(err, onceguard.ErrMismatch)
		})
	})
	t.Run("running guards load the new key", func(t *testing.T) {
		virtual(t, func(w *world) {
			rotate(w)
			if _, err := onceguard.Do(w.ctx, w.another(), request("1"), w.ok()); err != nil {
				t.Fatal(err)
			}
			if w.record(request("1")).Fingerprint.KeyID != "0002" {
				t.Error("the new guard does not use the new key")
			}
			w.mustDo(request("1"), w.never())
			_, err := w.do(other, w.never())
			w.want(err, onceguard.ErrMismatch)
		})
	})
	t.Run("waiters on a takeover of an old record", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := under(onceguard.Rerun, "1")
			_, err := w.do(r, w.act(refund{}, errors.New("504")))
			w.want(err, onceguard.ErrUncertain)
			rotate(w)
			g := w.another()
			end := w.running(g, r, refund{"re_2", 2}, nil) // attempt 2 of a record under the old key
			got := make(chan error, 2)
			for _, r := range []onceguard.Request{r, other} {
				go func() {
					_, err := onceguard.Do(w.ctx, g, r, w.never())
					got <- err
				}()
			}
			w.want(<-got, onceguard.ErrMismatch) // the other input, at once
			time.Sleep(time.Second)
			end()
			if err := <-got; err != nil {
				t.Errorf("the same input under a rotated key: %v", err)
			}
		})
	})
	t.Run("a key that nobody has", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.mustDo(request("1"), w.ok())
			// The same rows, other secrets.
			g, err := onceguard.New(w.ctx, foreign{w.store}, w.options())
			if err != nil {
				t.Fatal(err)
			}
			_, err = onceguard.Do(w.ctx, g, request("1"), w.never())
			if e := w.want(err, onceguard.ErrKeyMissing); !e.MayHaveRun || !strings.Contains(e.Reason, "0001") {
				t.Errorf("%v", e)
			}
		})
	})
}

// foreign is a store whose fingerprint keys are others than the rows name.
type foreign struct{ *faults }

func (f foreign) Secrets(ctx context.Context, offer []onceguard.Secret) ([]onceguard.Secret, error) {
	s, err := f.faults.Secrets(ctx, offer)
	for i := range s {
		s[i].Name = strings.Replace(s[i].Name, "fingerprint/0001", "fingerprint/0009", 1)
	}
	return s, err
}

func TestWrappedSecrets(t *testing.T) {
	virtual(t, func(w *world) {
		rec := w.mustDo(request("1"), w.ok())
		secrets, err := w.store.Secrets(w.ctx, nil)
		if err != nil || len(secrets) != 3 {
			t.Fatalf("%v, %v", secrets, err)
		}
		for _, s := range secrets {
			if !s.Wrapped {
				t.Errorf("secret %s is not wrapped", s.Name)
			}
		}
		for name, adapt := range map[string]func(*onceguard.Options){"none": kek(0), "wrong": kek(8)} {
			if name == "none" {
				adapt = func(o *onceguard.Options) { o.KeyEncryptionKey = nil }
			}
			_, err := onceguard.New(w.ctx, w.store, w.options(adapt))
			if !errors.Is(err, onceguard.ErrKeyMissing) {
				t.Errorf("%s: %v", name, err)
			}
		}
		again, err := onceguard.Do(w.ctx, w.another(kek(7)), request("1"), w.never())
		if err != nil || again.Value != rec.Value {
			t.Errorf("%+v, %v", again, err)
		}
		if _, err := onceguard.New(w.ctx, w.store, w.options(func(o *onceguard.Options) { o.KeyEncryptionKey = []byte("short") })); err == nil {
			t.Error("a short key was taken")
		}
	}, kek(7))
}

func TestEncryptionNeedsItsKeyOnReplay(t *testing.T) {
	virtual(t, func(w *world) {
		plain := w.guard // opened before anybody encrypted: its secrets are not wrapped
		if _, err := onceguard.Do(w.ctx, w.another(kek(7)), request("1"), w.ok()); err != nil {
			t.Fatal(err)
		}
		_, err := onceguard.Do(w.ctx, plain, request("1"), w.never())
		if e := w.want(err, onceguard.ErrKeyMissing); !e.MayHaveRun {
			t.Errorf("%v", e)
		}
	})
}

// An owner and a lookup that agree must be seen to agree: equal bodies of one
// request are stored with equal digests, and no two requests share them.
func TestEqualResultsSealEqually(t *testing.T) {
	virtual(t, func(w *world) {
		seal := func(id byte, body string) onceguard.Result {
			r, err := w.guard.SealResult(w.ctx, onceguard.RequestID{id}, "json string", []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		one := seal(1, `"re_1"`)
		if again := seal(1, `"re_1"`); again.Digest != one.Digest {
			t.Error("the same result of the same request sealed to another digest: a late owner would seem to contradict the lookup")
		}
		if seal(2, `"re_1"`).Digest == one.Digest || seal(1, `"re_2"`).Digest == one.Digest {
			t.Error("another request or another result has the same digest")
		}
		r := request("1")
		end := w.running(w.guard, r, refund{"re_1", 500}, nil)
		rec := w.record(r)
		body, err := onceguard.JSON.Encode(refund{"re_1", 500})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.Resolve(w.ctx, onceguard.Resolution{ID: rec.ID, Attempt: rec.Attempt, Verdict: onceguard.ResolvePark, Who: onceguard.BySweeper}); err != nil {
			t.Fatal(err)
		}
		found := onceguard.Resolution{ID: rec.ID, Attempt: rec.Attempt, Verdict: onceguard.ResolveHappened, By: "alice", Reason: "seen", Result: onceguard.NewResult("json refund", body)}
		if _, err := w.guard.Resolve(w.ctx, found); err != nil {
			t.Fatal(err)
		}
		if late := end(); late.err != nil {
			t.Errorf("the late owner got %v", late.err)
		}
		if ev := w.evidence(r, onceguard.EvidenceConflict); len(ev) != 0 {
			t.Errorf("the same result twice is kept as a contradiction: %v", ev)
		}
	}, kek(7))
}

func TestCanaryNeverReachesTheStoreInClear(t *testing.T) {
	const canary = "canary-4929-1111"
	virtual(t, func(w *world) {
		a := onceguard.Action[string, string]{
			Name: "card.charge", Key: func(string) onceguard.Key { return onceguard.KeyOf("order", "1") },
			KeepInput: true,
			Run:       func(context.Context, *onceguard.Attempt, string) (string, error) { return "ok " + canary, nil },
			Reconcile: func(_ context.Context, q onceguard.Query) (onceguard.Verdict[string], error) {
				if !strings.Contains(string(q.Input), canary) {
					t.Errorf("the lookup got input %q", q.Input)
				}
				return onceguard.Verdict[string]{Finding: onceguard.Happened, Value: "found " + canary}, nil
			},
		}
		rec, err := a.Do(w.ctx, w.guard, canary)
		if err != nil || rec.Value != "ok "+canary {
			t.Fatalf("%q, %v", rec.Value, err)
		}
		lost := a
		lost.Key = func(string) onceguard.Key { return onceguard.KeyOf("order", "2") }
		lost.Run = func(context.Context, *onceguard.Attempt, string) (string, error) { return canary, errors.New("EOF") }
		_, err = lost.Do(w.ctx, w.guard, canary)
		w.want(err, onceguard.ErrUncertain)
		dump := func() (all []byte) {
			err := w.store.Dump(w.ctx, func(r onceguard.Record, ev []onceguard.Evidence) error {
				for _, b := range [][]byte{r.Input, r.Result.Body, []byte(r.Result.Type), []byte(r.Reason), []byte(r.Key)} {
					all = append(all, b...)
				}
				for _, e := range ev {
					all = append(append(all, e.Detail...), e.Body...)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		rc, err := w.guard.Reconciler(onceguard.ReconcilerOptions{}, lost)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := rc.Once(w.ctx); err != nil || s.Settled != 1 {
			t.Errorf("%+v, %v", s, err)
		}
		if got, err := lost.Do(w.ctx, w.guard, canary); err != nil || got.Value != "found "+canary {
			t.Errorf("%q, %v", got.Value, err)
		}
		if bytes.Contains(dump(), []byte(canary)) {
			t.Error("the canary is in the store")
		}
		// A row moved to another request does not open there.
		if len(dump()) == 0 {
			t.Error("the dump is empty: the test saw nothing")
		}
	}, kek(7))
}
