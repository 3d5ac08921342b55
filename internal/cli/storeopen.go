package cli

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/pgstore"
	"github.com/onceguard/onceguard/sqlitestore"
)

// opening says whether a command may make the store.
type opening int

const (
	mustExist opening = iota // reading an empty memory would answer "nothing happened"
	mayCreate
)

// store opens the store once per run and says so where that made it.
func (a *app) store(how opening) (onceguard.Store, error) {
	if a.opened != nil {
		return a.opened, nil
	}
	at, err := a.chooseStore()
	if err != nil {
		return nil, err
	}
	a.at = at
	s, created, err := a.openAt(a.ctx, at, how)
	if err != nil {
		return nil, err
	}
	a.opened = s
	if created {
		a.say("new store %s: it remembers nothing before now", plain(at.shown))
		if info, err := s.Info(a.ctx); err == nil {
			for _, w := range info.Warnings {
				a.say("warning: %s", plain(w))
			}
		}
	}
	return s, nil
}

func (a *app) openAt(ctx context.Context, at storeURL, how opening) (onceguard.Store, bool, error) {
	if at.kind == "postgres" {
		o := &pgstore.Options{Pooler: at.pooler, NoEpoch: at.noEpoch, MaxConns: 4}
		if at.carryOn {
			o.OnFailover = pgstore.Continue
		}
		s, err := pgstore.Open(ctx, at.url, o)
		if err != nil {
			return nil, false, unavailable("the store %s cannot be opened: %w", plain(at.shown), err)
		}
		return s, false, nil
	}
	if err := a.prepareFile(at, how); err != nil {
		return nil, false, err
	}
	if err := sqlitestore.TuneProcess(); err != nil {
		a.logger().Debug("the process could not be tuned for SQLite", "error", err)
	}
	s, err := sqlitestore.Open(ctx, at.path, &sqlitestore.Options{MustExist: how == mustExist, Log: a.logger()})
	if err != nil {
		return nil, false, unavailable("the store %s cannot be opened: %w", plain(at.shown), err)
	}
	return s, s.Created(), nil
}

// prepareFile refuses a missing store where it must exist, and makes the
// default store's directory private. Other directories are the user's to make:
// a mistyped path must not become a second memory somewhere else.
func (a *app) prepareFile(at storeURL, how opening) error {
	_, err := os.Stat(at.path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return nil // Open says more about other errors
	}
	if how == mustExist {
		return unavailable("the store %s does not exist, so it remembers nothing; name another with --store or $%s, or let `onceguard run` or `onceguard store migrate` create it", plain(at.shown), envStore)
	}
	dir := filepath.Dir(at.path)
	if at.source == "default" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return unavailable("the directory of the default store cannot be made: %w; name another store with --store", err)
		}
		return nil
	}
	if _, err := os.Stat(dir); err != nil {
		return unavailable("%s: the directory of the store: %w; make it, or correct the path", at.source, err)
	}
	return nil
}

// kek reads the key encryption key, if one is named.
func (a *app) kek() ([]byte, error) {
	path, source := a.globals.KeyFile, "--key-file"
	if path == "" {
		path, source = a.env.get(envKeyFile), "$"+envKeyFile
	}
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unavailable("%s: %w", source, err)
	}
	if info.Size() > 4096 {
		return nil, usageError("%s: %s has %d bytes; a key file holds 32 bytes, or their hexadecimal or base64 text", source, plain(path), info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unavailable("%s: %w", source, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		a.say("warning: %s: others may read %s (mode %04o); chmod 600 it", source, plain(path), info.Mode().Perm())
	}
	key, err := parseKEK(data)
	if err != nil {
		return nil, usageError("%s: %s: %w", source, plain(path), err)
	}
	return key, nil
}

// parseKEK never quotes what it read.
func parseKEK(data []byte) ([]byte, error) {
	if len(data) == 32 {
		return data, nil
	}
	text := strings.TrimSpace(string(data))
	if key, err := hex.DecodeString(text); err == nil && len(key) == 32 {
		return key, nil
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if key, err := enc.DecodeString(text); err == nil && len(key) == 32 {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%d bytes that are not a key: write 32 random bytes, or their hexadecimal or base64 text, as `openssl rand -hex 32` prints them", len(data))
}

// guard opens the store and a guard on it.
func (a *app) guard(how opening, opts onceguard.Options) (*onceguard.Guard, error) {
	s, err := a.store(how)
	if err != nil {
		return nil, err
	}
	return a.guardOn(s, opts)
}

func (a *app) guardOn(s onceguard.Store, opts onceguard.Options) (*onceguard.Guard, error) {
	key, err := a.kek()
	if err != nil {
		return nil, err
	}
	opts.KeyEncryptionKey = key
	if opts.Observer == nil {
		opts.Observer = a.observer()
	}
	g, err := onceguard.New(a.ctx, s, opts)
	if err != nil {
		if statusOf(err) == exitUsage {
			return nil, err
		}
		return nil, unavailable("%s: %w", plain(a.at.shown), trimmed(err))
	}
	return g, nil
}

// trimmed drops the library's prefix, which the command prints itself.
func trimmed(err error) error {
	return prefixless{err}
}

type prefixless struct{ error }

func (p prefixless) Error() string { return strings.TrimPrefix(p.error.Error(), "onceguard: ") }
func (p prefixless) Unwrap() error { return p.error }
