package cli

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/pgstore"
)

// storeRestoreCmd is `onceguard store restore`.
type storeRestoreCmd struct {
	File string `arg:"" name:"file" help:"What store backup wrote."`
	Into string `required:"" placeholder:"URL" help:"The empty store to fill; --store is not looked at, so that a slip does not hit the store in use."`
}

// Help is shown below the flags.
func (storeRestoreCmd) Help() string {
	return `The file is checked whole before anything is written, and written in one transaction. The restored store has a new epoch and is frozen: what was claimed after the backup is not in it and would run again. Acknowledge it when that was looked into.

Example:

  onceguard store restore /var/backups/receipts.jsonl --into sqlite:receipts.db`
}

// archiveContents is what the check of a file found.
type archiveContents struct {
	head    archiveHead
	secrets []onceguard.Secret
	foot    archiveFoot
}

// Run is the command.
func (c *storeRestoreCmd) Run(a *app) error {
	f, err := os.Open(c.File)
	if err != nil {
		return usageError("%w", err)
	}
	defer func() { _ = f.Close() }()
	ctx, stop := a.interruptible()
	defer stop()
	found, err := checkArchive(ctx, f)
	if err != nil {
		return usageError("%s: %w", plain(c.File), err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	u, uerr := parseStoreURL(c.Into)
	if uerr != nil {
		return uerr.from("--into")
	}
	u.source = "--store" // lines for copying need the flag
	a.at = u
	if u.kind == "postgres" {
		if err := pgstore.Migrate(ctx, u.url); err != nil {
			return unavailable("the schema of %s cannot be made: %w", plain(u.shown), err)
		}
	}
	s, _, err := a.openAt(ctx, u, mayCreate)
	if err != nil {
		return err
	}
	a.opened = s
	archiver, ok := s.(onceguard.Archiver)
	if !ok {
		return usageError("the store %s cannot be filled", plain(u.shown))
	}
	info := onceguard.StoreInfo{Kind: found.head.Kind, StoreID: found.head.StoreID, Epoch: found.head.Epoch, Schema: found.head.Schema}
	p := a.progress("loaded", "receipts")
	err = archiver.Load(ctx, info, found.secrets, archiveRecords(f, p))
	p.end(err)
	if err != nil {
		return &failure{status: exitUnavailable, text: plain(u.shown) + ": " + err.Error(), done: "nothing was restored", err: err}
	}
	after, err := s.Info(ctx)
	if err != nil {
		return a.storeErr(err)
	}
	a.say("%s is restored and FROZEN: what was claimed after %s is not in it and would run again", plain(u.shown), stamp(found.head.WrittenAt))
	a.say("when that was looked into: onceguard store acknowledge --epoch %s --by NAME --reason TEXT%s", quoteArg(after.Epoch), u.flag())
	return nil
}

// maxArchiveLine bounds a line: a result and a kept input of the greatest size
// and all their evidence, in base64.
const maxArchiveLine = 512 << 20

// checkArchive reads the whole file: format, strictness, counts and digest.
func checkArchive(ctx context.Context, f io.Reader) (archiveContents, error) {
	var c archiveContents
	var count archiveFoot
	r := bufio.NewReaderSize(f, 1<<20)
	sum := sha256.New()
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		line, err := readLine(r, maxArchiveLine)
		if errors.Is(err, io.EOF) {
			return c, fmt.Errorf("the file ends after line %d without a foot: it was cut, use another backup", n-1)
		}
		if err != nil {
			return c, fmt.Errorf("line %d: %w", n, err)
		}
		l, err := parseArchiveLine(line)
		switch {
		case err != nil:
			return c, fmt.Errorf("line %d is not of an archive, or the file was cut: %w", n, err)
		case n == 1 && (l.Head == nil || l.Head.Format != archiveFormat):
			return c, fmt.Errorf("line 1 does not say %s: this is no archive that this version can read", archiveFormat)
		case n == 1:
			c.head = *l.Head
		case l.Foot != nil:
			c.foot = *l.Foot
			return c, c.foot.check(count, hex.EncodeToString(sum.Sum(nil)), r)
		case l.Record != nil:
			count.Records++
			count.Evidence += len(l.Record.Evidence)
		case l.Secret != nil:
			count.Secrets++
			x := l.Secret
			c.secrets = append(c.secrets, onceguard.Secret{Name: x.Name, Value: x.Value, Wrapped: x.Wrapped, CreatedAt: x.CreatedAt})
		default:
			return c, fmt.Errorf("line %d is neither record, secret nor foot", n)
		}
		sum.Write(line)
	}
}

func (f archiveFoot) check(count archiveFoot, sum string, rest *bufio.Reader) error {
	count.SHA256 = sum
	if f != count {
		return errors.New("the foot does not fit the rest: the file was changed or parts are missing, use another backup")
	}
	if _, err := rest.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the foot: the file was changed")
	}
	return nil
}

// archiveRecords reads the records of a checked file one by one.
func archiveRecords(f io.Reader, p *progress) func() (onceguard.Record, []onceguard.Evidence, error) {
	r := bufio.NewReaderSize(f, 1<<20)
	return func() (onceguard.Record, []onceguard.Evidence, error) {
		for {
			line, err := readLine(r, maxArchiveLine)
			if err != nil {
				return onceguard.Record{}, nil, err
			}
			l, err := parseArchiveLine(line)
			switch {
			case err != nil:
				return onceguard.Record{}, nil, err
			case l.Foot != nil:
				return onceguard.Record{}, nil, io.EOF
			case l.Record != nil:
				p.add(1)
				rec, evidence := l.Record.record()
				return rec, evidence, nil
			}
		}
	}
}
