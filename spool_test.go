package onceguard_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// spooling is an option that keeps outcomes in dir.
func spooling(dir string) func(*onceguard.Options) {
	return func(o *onceguard.Options) { o.Spool, o.SettleWait = dir, time.Second }
}

func spoolFiles(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// crashed leaves one outcome in the spool of a guard that is gone.
func crashed(w *world, dir string, r onceguard.Request) {
	w.Helper()
	g := w.another(spooling(dir))
	w.store.set(only("settle", down))
	_, err := onceguard.Do(w.ctx, g, r, w.ok())
	w.want(err, onceguard.ErrUnsettled)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if g.Close(ctx) == nil {
		w.Error("Close said that everything was delivered")
	}
	w.store.set(nil)
	w.wantState(r, onceguard.Claimed, 1)
}

func TestSpoolIsDeliveredByTheNextGuard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	virtual(t, func(w *world) {
		r := request("1")
		crashed(w, dir, r)
		files := spoolFiles(t, dir)
		if len(files) != 1 || !strings.HasSuffix(files[0], ".settle") {
			t.Fatalf("spool holds %v", files)
		}
		if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		// Long after: the claim was parked by then, and the outcome still counts.
		time.Sleep(24 * time.Hour)
		_, err := w.do(r, w.never())
		w.want(err, onceguard.ErrUncertain)
		g := w.another(spooling(dir))
		if rec := w.mustDo(r, w.never()); rec.Value.ID != "re_1" || rec.SettledBy != "owner" {
			t.Errorf("%+v", rec)
		}
		if files := spoolFiles(t, dir); len(files) != 0 {
			t.Errorf("left %v", files)
		}
		w.close(g)
		w.wantRuns(1)
	})
}

func TestSpoolIsDeliveredInTheBackground(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	virtual(t, func(w *world) {
		crashed(w, dir, request("1"))
		w.store.set(only("settle", down))
		g := w.another(spooling(dir)) // New does not fail for it
		time.Sleep(10 * time.Second)
		w.wantState(request("1"), onceguard.Claimed, 1)
		w.store.set(nil)
		time.Sleep(2 * time.Second)
		w.wantState(request("1"), onceguard.Succeeded, 1)
		if files := spoolFiles(t, dir); len(files) != 0 {
			t.Errorf("left %v", files)
		}
		w.close(g)
	})
}

func TestSpoolIsClearedOnceSettled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	virtual(t, func(w *world) {
		g := w.another(spooling(dir))
		w.store.set(first("settle", 2, lostAfter))
		if _, err := onceguard.Do(w.ctx, g, request("1"), w.ok()); err != nil {
			t.Fatal(err)
		}
		w.close(g)
		if files := spoolFiles(t, dir); len(files) != 0 {
			t.Errorf("left %v", files)
		}
	})
}

func TestSpoolOfAnotherStoreIsLeftAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	virtual(t, func(w *world) {
		crashed(w, dir, request("1"))
		other := newWorld(t, spooling(dir))
		if other.events.count(onceguard.EventForgotten) != 1 {
			t.Error("no alarm")
		}
		other.close(other.guard)
		if files := spoolFiles(t, dir); len(files) != 1 {
			t.Fatalf("the outcome is gone: %v", files)
		}
		w.close(w.another(spooling(dir)))
		w.wantState(request("1"), onceguard.Succeeded, 1)
	})
}

func TestDamagedSpoolFileIsLeftAlone(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut":         func(b []byte) []byte { return b[:len(b)/2] },
		"empty":       func([]byte) []byte { return nil },
		"other body":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"body":"`), []byte(`"body":"AAAA`), 1) },
		"version":     func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1) },
		"verb":        func(b []byte) []byte { return bytes.Replace(b, []byte(`"verb":1`), []byte(`"verb":9`), 1) },
		"short owner": func(b []byte) []byte { return bytes.Replace(b, []byte(`"owner":"`), []byte(`"owner":"AAAA`), 1) },
		"request id":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"req_`), []byte(`"REQ_`), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			virtual(t, func(w *world) {
				crashed(w, dir, request("1"))
				file := spoolFiles(t, dir)[0]
				good, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				bad := damage(bytes.Clone(good))
				if bytes.Equal(bad, good) {
					t.Fatalf("nothing was damaged in %s", good)
				}
				if err := os.WriteFile(file, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				before := w.events.count(onceguard.EventWarning)
				w.close(w.another(spooling(dir)))
				if w.events.count(onceguard.EventWarning) != before+1 {
					t.Error("no warning")
				}
				if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, bad) {
					t.Errorf("the file was touched: %v", err)
				}
				w.wantState(request("1"), onceguard.Claimed, 1)
			})
		})
	}
}

func TestSpoolDirectoryIsPrivate(t *testing.T) {
	virtual(t, func(w *world) {
		dir := filepath.Join(t.TempDir(), "spool")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := onceguard.New(w.ctx, w.store, w.options(spooling(dir)))
		if err == nil || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("%v", err)
		}
		fresh := filepath.Join(t.TempDir(), "a", "b")
		w.close(w.another(spooling(fresh)))
		if info, err := os.Stat(fresh); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info, err)
		}
		// Another file's temporary remains are nobody's business.
		if err := os.WriteFile(filepath.Join(fresh, "x.settle.tmp-1"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.close(w.another(spooling(fresh)))
	})
}

func TestSpoolThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	virtual(t, func(w *world) {
		g := w.another(spooling(dir))
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		w.store.set(first("settle", 2, down))
		if _, err := onceguard.Do(w.ctx, g, request("1"), w.ok()); err != nil {
			t.Fatal(err)
		}
		if w.events.count(onceguard.EventWarning) != 1 {
			t.Error("no warning about the spool")
		}
		w.close(g)
	})
}
