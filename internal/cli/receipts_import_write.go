package cli

import (
	"bytes"
	"context"

	"github.com/onceguard/onceguard"
)

// write is the second time through the file.
func (i *importing) write(ctx context.Context) error {
	var batch []onceguard.Record
	var lines []int
	p := i.progress("checked", "lines")
	if !i.cmd.DryRun {
		p = i.progress("imported", "lines")
	}
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := i.batch(ctx, batch, lines)
		p.add(len(batch))
		batch, lines = batch[:0], lines[:0]
		return err
	}
	err := i.each(ctx, func(line int, rec onceguard.Record) error {
		batch, lines = append(batch, rec), append(lines, line)
		if len(batch) < importBatch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		i.say("imported %d of %d lines before the failure; import the same file again, what is there stays", i.view.Imported, i.view.Lines)
		return i.storeErr(err)
	}
	return nil
}

// batch imports records that the store does not have and compares the others.
func (i *importing) batch(ctx context.Context, records []onceguard.Record, lines []int) error {
	ids := make([]onceguard.RequestID, len(records))
	for n, r := range records {
		ids[n] = r.ID
	}
	have, err := i.g.Store().Get(ctx, ids)
	if err != nil {
		return err
	}
	var absent []onceguard.Record
	var at []int
	for n, answer := range have {
		switch {
		case answer.Err != nil:
			return answer.Err
		case answer.Outcome == onceguard.Found:
			i.compare(ctx, answer.Record, records[n], lines[n])
		default:
			absent, at = append(absent, records[n]), append(at, lines[n])
		}
	}
	if i.cmd.DryRun {
		i.view.Imported += len(absent)
		return nil
	}
	if len(absent) == 0 {
		return nil
	}
	answers, err := i.g.Store().Import(ctx, absent)
	if err != nil {
		return err
	}
	for n, answer := range answers {
		switch {
		case answer.Err != nil:
			return answer.Err
		case answer.Outcome == onceguard.Applied:
			i.view.Imported++
		default: // another process was faster
			i.compare(ctx, answer.Record, absent[n], at[n])
		}
	}
	return nil
}

// compare reports a record that the store knows otherwise. Sealed bodies differ
// each time, so bodies are compared opened.
func (i *importing) compare(ctx context.Context, have, given onceguard.Record, line int) {
	why := ""
	switch {
	case have.State != given.State:
		why = "is " + have.State.String() + " there"
	case given.Fingerprint.Version != 0 && have.Fingerprint.Version != 0 && !given.Fingerprint.Equal(have.Fingerprint) && given.Fingerprint.KeyID == have.Fingerprint.KeyID:
		why = "has another input there"
	case have.Result.Missing != onceguard.HasBody && given.Result.Missing == onceguard.HasBody && !have.Pruned:
		why = "has no result there"
	case have.Result.Missing == onceguard.HasBody && given.Result.Missing == onceguard.HasBody:
		a, aerr := i.g.OpenResult(ctx, have)
		b, berr := i.g.OpenResult(ctx, given)
		if aerr != nil || berr != nil || !bytes.Equal(a, b) {
			why = "has another result there"
		}
	}
	if why == "" {
		i.view.Same++
		return
	}
	i.view.Differ++
	i.say("line %d: %s %s (%s) %s, settled by %s; it stays as it is", line, given.Action, readableKey(given.Key), given.ID, why, plain(orElse(have.SettledBy, "nobody")))
}

func (i *importing) report() error {
	v := i.view
	if i.cmd.JSON {
		if err := i.printJSON(v); err != nil {
			return err
		}
	} else {
		verb := "imported"
		if v.DryRun {
			verb = "would import"
		}
		i.say("%s %d of %d lines into %s: %d were there already, %d differ", verb, v.Imported, v.Lines, plain(v.Store), v.Same, v.Differ)
	}
	if v.Differ > 0 {
		return silent(exitMismatch)
	}
	return nil
}
