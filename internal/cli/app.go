package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/lmittmann/tint"

	"github.com/onceguard/onceguard"
)

// globals are the flags that every command takes.
type globals struct {
	StoreURL string `name:"store" placeholder:"URL" group:"Global flags" help:"The store: sqlite:PATH or postgres://… . Default: $$ONCEGUARD_STORE, else a SQLite file in the user's state directory."`
	KeyFile  string `name:"key-file" placeholder:"FILE" group:"Global flags" help:"File with the key encryption key: 32 bytes, or their hexadecimal or base64 text. It wraps the store's secrets and encrypts results. Default: $$ONCEGUARD_KEY_FILE."`
	Verbose  bool   `name:"verbose" short:"v" group:"Global flags" help:"Log what happens to standard error."`
}

// app is one run of the program: where it reads, prints, and what it opened.
type app struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
	env            environ
	globals        *globals
	model          *kong.Application

	opened onceguard.Store
	at     storeURL
}

// say prints one line about the work to standard error.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.stderr, "onceguard: "+format+"\n", args...)
}

// print writes part of the answer to standard output.
func (a *app) print(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// logger is where the guard and the stores report: standard error with -v,
// nowhere without.
func (a *app) logger() *slog.Logger {
	if !a.globals.Verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(tint.NewTextHandler(a.stderr, &tint.Options{
		Level: slog.LevelDebug, TimeFormat: "15:04:05.000", NoColor: !a.coloured(a.stderr),
	}))
}

// interruptible is a context that SIGINT and SIGTERM end, for long work that
// must tidy up. The guarded command's signals go another way.
func (a *app) interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(a.ctx, os.Interrupt, syscall.SIGTERM)
}

func (a *app) close() {
	if a.opened != nil {
		_ = a.opened.Close() // every answered write is durable already
		a.opened = nil
	}
}

// observer tells the user what must not pass unseen, also without -v.
type observer struct {
	a    *app
	slog onceguard.Observer
}

func (a *app) observer() onceguard.Observer {
	return observer{a, onceguard.SlogObserver(a.logger())}
}

// meaningOf says what an event without detail is about.
var meaningOf = map[onceguard.EventKind]string{
	onceguard.EventConflict:   "a late outcome differs from the receipt, which stays; it is kept as evidence",
	onceguard.EventSuperseded: "another attempt owns the request by now; the outcome of this one is kept as evidence",
	onceguard.EventMaxRun:     "the effect runs longer than it may",
	onceguard.EventLeaseLost:  "the lease could not be kept; the outcome still counts when it comes",
}

// Observe implements onceguard.Observer.
func (o observer) Observe(ctx context.Context, e onceguard.Event) {
	o.slog.Observe(ctx, e)
	switch e.Kind {
	case onceguard.EventConflict, onceguard.EventCorrupt, onceguard.EventForgotten, onceguard.EventSuperseded, onceguard.EventLeaseLost, onceguard.EventMaxRun:
		detail := e.Detail
		if detail == "" && e.Err != nil {
			detail = e.Err.Error()
		}
		o.a.say("warning: %s: %s attempt %d: %s", e.Kind, e.RequestID, e.Attempt, plain(orElse(detail, meaningOf[e.Kind])))
	}
}
