package cli

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/onceguard/onceguard"
)

// storeBackupCmd is `onceguard store backup`.
type storeBackupCmd struct {
	File  string `arg:"" name:"file" help:"Where to write; replaced as a whole, mode 0600."`
	Force bool   `help:"Replace a file that is there."`
}

// Help is shown below the flags.
func (storeBackupCmd) Help() string {
	return `One snapshot of all receipts, their evidence and the store's secrets, as JSON Lines that any kind of store can be filled from. Whoever reads the file can compute downstream keys: keep it as you keep the store. Others may go on using the store meanwhile; what they claim after the snapshot is not in it.

Example:

  onceguard store backup /var/backups/receipts.jsonl`
}

// archiveWriter writes lines and counts what it wrote.
type archiveWriter struct {
	w    *bufio.Writer
	sum  hash.Hash
	foot archiveFoot
}

func newArchiveWriter(w io.Writer) *archiveWriter {
	sum := sha256.New()
	return &archiveWriter{w: bufio.NewWriterSize(io.MultiWriter(w, sum), 256<<10), sum: sum}
}

func (w *archiveWriter) end() error {
	if err := w.w.Flush(); err != nil {
		return err
	}
	w.foot.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	if err := jsonLine(w.w, archiveLine{Foot: &w.foot}); err != nil {
		return err
	}
	return w.w.Flush()
}

// Run is the command.
func (c *storeBackupCmd) Run(a *app) error {
	if _, err := os.Lstat(c.File); err == nil && !c.Force {
		return usageError("%s exists; choose another name, or give --force", plain(c.File))
	}
	s, err := a.store(mustExist)
	if err != nil {
		return err
	}
	archiver, ok := s.(onceguard.Archiver)
	if !ok {
		return usageError("the store %s cannot be written out", plain(a.at.shown))
	}
	temp, err := os.CreateTemp(filepath.Dir(c.File), "."+filepath.Base(c.File)+"-*") // mode 0600
	if err != nil {
		return usageError("%w", err)
	}
	ctx, stop := a.interruptible()
	defer stop()
	foot, err := a.backup(ctx, s, archiver, temp)
	if err == nil {
		err = temp.Sync()
	}
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp.Name(), c.File)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
		return &failure{status: statusOf(err), text: "the backup failed: " + err.Error(), done: "no backup was written", err: err}
	}
	if err := syncDir(filepath.Dir(c.File)); err != nil {
		a.say("warning: the directory of %s could not be synced: %v", plain(c.File), err)
	}
	a.say("wrote %s: %d receipts, %d pieces of evidence, %d secrets; keep it as secret as the store", plain(c.File), foot.Records, foot.Evidence, foot.Secrets)
	return nil
}

func (a *app) backup(ctx context.Context, s onceguard.Store, archiver onceguard.Archiver, to io.Writer) (archiveFoot, error) {
	info, err := s.Info(ctx)
	if err != nil {
		return archiveFoot{}, a.storeErr(err)
	}
	w := newArchiveWriter(to)
	head := archiveHead{archiveFormat, info.Kind, info.StoreID, info.Epoch, info.Schema, time.Now().UTC(), programVersion()}
	if err := jsonLine(w.w, archiveLine{Head: &head}); err != nil {
		return w.foot, err
	}
	p := a.progress("wrote", "receipts")
	err = archiver.Dump(ctx, func(r onceguard.Record, evidence []onceguard.Evidence) error {
		w.foot.Records++
		w.foot.Evidence += len(evidence)
		p.add(1)
		return jsonLine(w.w, archiveLine{Record: archived(r, evidence)})
	})
	p.end(err)
	if err != nil {
		return w.foot, a.storeErr(err)
	}
	// After the records: a key that was rotated meanwhile is in the file, too.
	secrets, err := s.Secrets(ctx, nil)
	if err != nil {
		return w.foot, a.storeErr(err)
	}
	for _, x := range secrets {
		w.foot.Secrets++
		if err := jsonLine(w.w, archiveLine{Secret: &archiveSecret{x.Name, x.Value, x.Wrapped, x.CreatedAt.UTC()}}); err != nil {
			return w.foot, err
		}
	}
	return w.foot, w.end()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
