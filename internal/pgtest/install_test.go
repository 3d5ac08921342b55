package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeInstall makes a bin directory whose postgres prints a version.
func fakeInstall(t *testing.T, dir string, major int) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"initdb", "postgres"} {
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %d.3 (Debian)'\n", name, major)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	for _, major := range []int{9, 15, 17} {
		fakeInstall(t, filepath.Join(root, fmt.Sprint(major), "bin"), major)
	}
	own := fakeInstall(t, filepath.Join(t.TempDir(), "own"), 18)
	links := t.TempDir()
	if err := os.Symlink(filepath.Join(own, "initdb"), filepath.Join(links, "initdb")); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, tt := range []struct {
		name string
		env  searchEnv
		want int // 0: an error that holds says
		says string
	}{
		{"highest", searchEnv{root: root}, 17, ""},
		{"asked for", searchEnv{root: root, version: "15"}, 15, ""},
		{"named directory wins", searchEnv{root: root, bin: own}, 18, ""},
		{"PATH is last", searchEnv{root: root, path: own}, 17, ""},
		{"PATH alone", searchEnv{root: empty, path: empty + ":" + own}, 18, ""},
		{"link in PATH", searchEnv{root: empty, path: links}, 18, ""},
		{"version not there", searchEnv{root: root, version: "18"}, 0, "version 17, and ONCEGUARD_PG_VERSION asks for 18"},
		{"version found in PATH", searchEnv{root: root, version: "18", path: own}, 18, ""},
		{"named directory of another version", searchEnv{root: root, bin: own, version: "17"}, 0, "version 18"},
		{"named directory is empty", searchEnv{root: root, bin: empty}, 0, "no initdb"},
		{"version is not a number", searchEnv{root: root, version: "latest"}, 0, "latest"},
		{"nothing", searchEnv{root: empty}, 0, "apt-get install postgresql"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, err := tt.env.find()
			if tt.want != 0 {
				if err != nil || in.major != tt.want {
					t.Fatalf("found %+v, %v; want version %d", in, err, tt.want)
				}
				return
			}
			if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v; want ErrMissing that says %q", err, tt.says)
			}
		})
	}
}

func TestServerEnvHidesTheCallersSettings(t *testing.T) {
	got := strings.Join(serverEnv([]string{"PGDATA=/x", "PGOPTIONS=-c fsync=off", "LANG=de_DE", "LC_ALL=de_DE", "TZ=CET", "HOME=/h"}), " ")
	if want := "HOME=/h LC_ALL=C TZ=UTC"; got != want {
		t.Errorf("environment %q, want %q", got, want)
	}
}

func TestReachesNamesTheClosedDirectory(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "closed", "bin")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := account{other: true, uid: 1}.reaches(inner)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "closed")) {
		t.Errorf("error %v, want one that names the directory", err)
	}
	if err := (account{}).reaches(inner); err != nil {
		t.Errorf("as the current user: %v", err)
	}
}
