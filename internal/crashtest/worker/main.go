//go:build unix

// Command worker is the process that crash tests kill: it runs guarded effects
// against the ledger and writes down what it was told. It is built with the tag
// failpoint alone, and belongs to no release.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/fault"
)

// lifetime bounds a worker whose test has died: nobody would end it.
const lifetime = 3 * time.Minute

func main() {
	if !fault.Enabled {
		fmt.Fprintln(os.Stderr, "worker: built without the tag failpoint, so no crash would ever come")
		os.Exit(3)
	}
	time.AfterFunc(lifetime, func() {
		fmt.Fprintln(os.Stderr, "worker: still here after", lifetime)
		os.Exit(3)
	})
	if err := run(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	dec := json.NewDecoder(in)
	var job crashtest.Job
	if err := dec.Decode(&job); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	w, err := open(ctx, job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	fmt.Fprintln(out, "ready")

	w.calls(ctx, job.Calls, job.Parallel)
	var fed []crashtest.Call
	for {
		var c crashtest.Call
		if err := dec.Decode(&c); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return fmt.Errorf("call %d: %w", len(fed)+1, err)
		}
		fed = append(fed, c)
		w.wg.Go(func() { w.call(ctx, c) })
	}
	w.wg.Wait()
	return w.after(ctx)
}
