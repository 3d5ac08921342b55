package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// receiptsImportCmd is `onceguard receipts import`.
type receiptsImportCmd struct {
	File   string `arg:"" name:"file" placeholder:"FILE|-" help:"JSON Lines; - for standard input."`
	By     string `required:"" placeholder:"NAME" help:"Who vouches for it; kept as import:NAME and shown on every replay."`
	DryRun bool   `help:"Check every line against the store and change nothing."`
	JSON   bool   `help:"Print JSON: {store, lines, imported, same, differ, dry_run}."`
}

// Help is shown below the flags.
func (receiptsImportCmd) Help() string {
	return `One object per line: action, key and state (succeeded or failed) are required; docs/cli.md lists the rest. All lines are checked before the first is written. Importing the same file again changes nothing. A request that the store knows otherwise is reported and stays as it is (exit 65).

Example:

  {"action":"refund.create","key":{"order":"A-1"},"state":"succeeded","at":"2025-06-01T10:00:00Z","result":{"refund":"re_81"}}

  onceguard receipts import --by alice refunds.jsonl`
}

type importView struct {
	Store    string `json:"store"`
	Lines    int    `json:"lines"`
	Imported int    `json:"imported"`
	Same     int    `json:"same"`
	Differ   int    `json:"differ"`
	DryRun   bool   `json:"dry_run"`
}

// maxImportLine bounds a line: a result of the greatest size, in base64.
const maxImportLine = 96 << 20

// importBatch is how many records go to the store in one call.
const importBatch = 200

// importing is one import on its way.
type importing struct {
	*app
	cmd  *receiptsImportCmd
	g    *onceguard.Guard
	view importView
	seen map[onceguard.RequestID]int // line numbers
	file *os.File
}

// Run is the command.
func (c *receiptsImportCmd) Run(a *app) error {
	if strings.TrimSpace(c.By) == "" {
		return usageError("--by is empty; name who vouches for the work")
	}
	file, err := c.open(a)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	how := mayCreate
	if c.DryRun {
		how = mustExist
	}
	g, err := a.guard(how, onceguard.Options{})
	if err != nil {
		return err
	}
	i := &importing{app: a, cmd: c, g: g, file: file, seen: map[onceguard.RequestID]int{}}
	i.view = importView{Store: a.at.shown, DryRun: c.DryRun}
	ctx, stop := a.interruptible()
	defer stop()
	// Twice through the file: first nothing but checks, so that a mistake in
	// the last line does not leave half an import.
	if err := i.each(ctx, func(int, onceguard.Record) error { i.view.Lines++; return nil }); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	clear(i.seen)
	if err := i.write(ctx); err != nil {
		return err
	}
	return i.report()
}

// open makes standard input seekable by way of a temporary file.
func (c *receiptsImportCmd) open(a *app) (*os.File, error) {
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, usageError("%w", err)
		}
		return f, nil
	}
	f, err := os.CreateTemp("", "onceguard-import-*") // mode 0600
	if err != nil {
		return nil, unavailable("standard input cannot be buffered: %w", err)
	}
	_ = os.Remove(f.Name()) // gone with its last descriptor
	if _, err = io.Copy(f, a.stdin); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, unavailable("standard input cannot be buffered: %w", err)
	}
	return f, nil
}

// each parses the lines; errors name the line.
func (i *importing) each(ctx context.Context, yield func(line int, rec onceguard.Record) error) error {
	r := bufio.NewReaderSize(i.file, 1<<20)
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := readLine(r, maxImportLine)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var rec onceguard.Record
		if err == nil {
			rec, err = i.record(ctx, line)
		}
		if err == nil {
			if before := i.seen[rec.ID]; before != 0 {
				err = fmt.Errorf("the same request as line %d: %s %s", before, rec.Action, readableKey(rec.Key))
			}
			i.seen[rec.ID] = n
		}
		if err != nil {
			return usageError("%s line %d: %w", plain(i.cmd.File), n, prefixless{err})
		}
		if err := yield(n, rec); err != nil {
			return err
		}
	}
}

// readLine reads a line of bounded length; io.EOF only where there is none.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > most:
			return nil, fmt.Errorf("longer than %d bytes", most)
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

func (i *importing) record(ctx context.Context, line []byte) (onceguard.Record, error) {
	in, err := parseImportLine(line)
	if err != nil {
		return onceguard.Record{}, err
	}
	if in.Scope == "" {
		in.Scope = "default"
	}
	state, err := onceguard.ParseState(in.State)
	if err != nil || !state.Final() {
		return onceguard.Record{}, fmt.Errorf(`"state" is %q; work that is over is succeeded or failed`, short(in.State, 20))
	}
	key, err := in.key()
	if err != nil {
		return onceguard.Record{}, err
	}
	id, err := onceguard.NewRequestID(in.Scope, in.Action, key)
	if err != nil {
		return onceguard.Record{}, err
	}
	rec := onceguard.Record{
		ID: id, Scope: in.Scope, Action: in.Action, Key: key.Encoded(), State: state, SettledBy: "import:" + i.cmd.By, Reason: in.Reason,
		ResultRetention: onceguard.DefaultResultRetention, IdentityRetention: onceguard.DefaultIdentityRetention,
	}
	if in.At != nil {
		rec.CreatedAt, rec.Since = *in.At, *in.At
	} else {
		now := time.Now()
		rec.CreatedAt, rec.Since = now, now
	}
	if in.ResultRetention != nil {
		rec.ResultRetention = time.Duration(*in.ResultRetention)
	}
	if in.IdentityRetention != nil {
		rec.IdentityRetention = time.Duration(*in.IdentityRetention)
	}
	if keep := rec.IdentityRetention; keep != onceguard.Forever && (rec.ResultRetention == onceguard.Forever || rec.ResultRetention > keep) {
		return rec, errors.New("the result retention is longer than the identity retention")
	}
	if err := i.fingerprint(ctx, in, key, &rec); err != nil {
		return rec, err
	}
	return rec, i.result(ctx, in, &rec)
}

// fingerprint computes what later callers with the same input will have.
func (i *importing) fingerprint(ctx context.Context, in importLine, key onceguard.Key, rec *onceguard.Record) error {
	r, has, err := in.request(key)
	if err != nil || !has {
		return err
	}
	seen, err := i.g.Scoped(in.Scope).Preview(ctx, r)
	rec.Fingerprint = seen.Fingerprint
	if errors.Is(err, onceguard.ErrMismatch) {
		return nil // the store will answer that the request is known otherwise
	}
	return err
}

func (i *importing) result(ctx context.Context, in importLine, rec *onceguard.Record) error {
	typ, body, has, err := in.body()
	if err != nil {
		return err
	}
	if !has {
		rec.Result = onceguard.Result{Missing: onceguard.BodyNotKept}
		return nil
	}
	rec.Result, err = i.g.SealResult(ctx, rec.ID, typ, body)
	return err
}
