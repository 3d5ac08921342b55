package sqlitestore_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
)

// The file goes away under a running process: nothing may be answered from a
// memory that nobody else sees.
func TestFileTakenAway(t *testing.T) {
	for name, c := range map[string]struct {
		take func(t *testing.T, path string)
		why  string
	}{
		"removed": {func(t *testing.T, path string) { must(t, os.Remove(path)) }, "was removed"},
		"replaced": {func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".old"))
			must(t, os.WriteFile(path, nil, 0o600))
		}, "was replaced"},
		"log removed": {func(t *testing.T, path string) { must(t, os.Remove(path+"-wal")) }, "write-ahead log"},
		"log replaced": {func(t *testing.T, path string) {
			must(t, os.Rename(path+"-wal", path+"-old"))
			must(t, os.WriteFile(path+"-wal", nil, 0o600))
		}, "write-ahead log"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			s, err := sqlitestore.Open(ctx, path, quiet())
			must(t, err)
			defer s.Close() // its error is about the missing file
			known := grant(t, s, "known")
			if a := claim(t, s, request(t, "known")); a.Outcome != onceguard.Held { // the next one reads first
				t.Fatalf("another's claim is %s", a.Outcome)
			}
			c.take(t, path)
			for call, err := range map[string]error{
				"claim":  second(s.Claim(ctx, []onceguard.Claim{request(t, "new")})),
				"claim ": second(s.Claim(ctx, []onceguard.Claim{request(t, "known")})),
				"settle": second(s.Settle(ctx, []onceguard.Settlement{success(known, nil)})),
				"get":    second(s.Get(ctx, []onceguard.RequestID{known.ID})),
				"info":   second(s.Info(ctx)),
			} {
				if se := storeErr(t, err, true, true); !strings.Contains(se.Error(), c.why) || !strings.Contains(se.Error(), "store "+strings.TrimSpace(call)) {
					t.Errorf("%s: %v", call, se)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A copy may lack what its original claimed since: it starts nothing that must
// not start twice until a person says so.
func TestCopyIsFrozen(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "x.db"), filepath.Join(dir, "backup.db")
	s, err := sqlitestore.Open(ctx, path, quiet())
	must(t, err)
	known := grant(t, s, "known")
	settle(t, s, success(known, []byte("paid")))
	_, err = s.Secrets(ctx, []onceguard.Secret{{Name: "downstream", Value: []byte("secret")}})
	must(t, err)
	must(t, s.Backup(ctx, backup))
	forgotten := grant(t, s, "forgotten") // after the backup
	if err := s.Backup(ctx, backup); err == nil {
		t.Error("a backup overwrote a file")
	}
	info, err := s.Info(ctx)
	must(t, err)
	must(t, s.Close())
	if mode := stat(t, backup).Mode().Perm(); mode != 0o600 {
		t.Errorf("the backup with its secrets has mode %o", mode)
	}

	check := func(t *testing.T, path string) {
		s := open(t, path, quiet())
		now, err := s.Info(ctx)
		must(t, err)
		if !now.Frozen || now.Epoch == info.Epoch || now.StoreID != info.StoreID {
			t.Fatalf("the copy is %+v, the original was %+v", now, info)
		}
		if a := claim(t, s, forgotten); a.Outcome != onceguard.Frozen {
			t.Errorf("a forgotten claim is answered %s", a.Outcome)
		}
		if r := claim(t, s, request(t, "known")).Record; string(r.Result.Body) != "paid" {
			t.Errorf("the replay is %+v", r)
		}
		must(t, s.Close())
		s = open(t, path, quiet())
		if again, err := s.Info(ctx); err != nil || again.Epoch != now.Epoch || !again.Frozen {
			t.Errorf("opened again: %+v, %v", again, err)
		}
		must(t, s.Acknowledge(ctx, onceguard.Acknowledgement{Epoch: now.Epoch, By: "ada", Reason: "compared with the provider"}))
		if a := claim(t, s, forgotten); a.Outcome != onceguard.Granted {
			t.Errorf("after acknowledging: %s", a.Outcome)
		}
		history, err := s.Evidence(ctx, onceguard.RequestID{})
		must(t, err)
		if len(history) != 2 || history[0].By != "store" || history[1].By != "operator:ada" {
			t.Errorf("the epochs' history is %+v", history)
		}
	}
	t.Run("backup in its own place", func(t *testing.T) { check(t, duplicate(t, backup, filepath.Join(t.TempDir(), "y.db"))) })
	t.Run("backup written over the original", func(t *testing.T) {
		over := filepath.Join(t.TempDir(), "z.db")
		must(t, os.Rename(path, over))
		must(t, os.RemoveAll(over+"-wal"))
		check(t, duplicate(t, backup, over))
	})
	t.Run("copied file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.db")
		s, err := sqlitestore.Open(ctx, path, quiet())
		must(t, err)
		must(t, s.Close())
		s = open(t, duplicate(t, path, filepath.Join(t.TempDir(), "y.db")), quiet())
		if info, err := s.Info(ctx); err != nil || !info.Frozen || !strings.Contains(info.FrozenWhy, "copy") {
			t.Errorf("the copy is %+v, %v", info, err)
		}
	})
	t.Run("moved file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.db")
		s, err := sqlitestore.Open(ctx, path, quiet())
		must(t, err)
		must(t, s.Close())
		must(t, os.Rename(path, path+".moved"))
		s = open(t, path+".moved", quiet())
		if info, err := s.Info(ctx); err != nil || info.Frozen {
			t.Errorf("a file that was only moved is %+v, %v", info, err)
		}
	})
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info
}

// duplicate writes over what is at to, keeping its inode.
func duplicate(t *testing.T, from, to string) string {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, err)
	must(t, out.Close())
	return to
}

// Another process put an archive of another store into the file.
func TestFileHoldsAnotherStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, other := open(t, path, quiet()), open(t, path, quiet())
	must(t, other.Load(ctx, onceguard.StoreInfo{StoreID: "another", Epoch: "1"}, nil, func() (onceguard.Record, []onceguard.Evidence, error) {
		return onceguard.Record{}, nil, io.EOF
	}))
	c := request(t, "1")
	c.Policy = onceguard.Rerun // not refused for the new epoch
	_, err := s.Claim(ctx, []onceguard.Claim{c})
	if se := storeErr(t, err, true, true); !strings.Contains(se.Error(), "open it again") {
		t.Errorf("the error does not say what to do: %v", se)
	}
	if a := claim(t, other, c); a.Outcome != onceguard.Granted {
		t.Errorf("the one that loaded it: %s, %v", a.Outcome, a.Err)
	}
}
