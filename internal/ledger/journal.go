package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// journal is the append-only file. Lines are synced as they are written.
type journal struct {
	file   *os.File
	size   int64
	broken error // a failed write that could not be undone
}

// openJournal reads file, creating it if need be, and returns its records.
func openJournal(name string) (*journal, []Record, error) {
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("ledger: %w", err)
	}
	// What follows the last line end was torn by a kill, and never answered.
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	var records []Record
	for line := range bytes.Lines(whole) {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, nil, fmt.Errorf("ledger: %s: line %d: %w; is this a ledger file?", name, len(records)+1, err)
		}
		if r.N != len(records)+1 {
			return nil, nil, fmt.Errorf("ledger: %s: line %d has number %d; lines are missing or doubled", name, len(records)+1, r.N)
		}
		records = append(records, r)
	}
	torn, head := string(data[len(whole):]), fmt.Sprintf(`{"n":%d,`, len(records)+1)
	if !strings.HasPrefix(torn, head) && !strings.HasPrefix(head, torn) {
		return nil, nil, fmt.Errorf("ledger: %s ends in something that is no torn record; is this a ledger file?", name)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY|os.O_SYNC, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("ledger: %w", err)
	}
	if err := f.Truncate(int64(len(whole))); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ledger: drop a torn line: %w", err), f.Close())
	}
	return &journal{file: f, size: int64(len(whole))}, records, nil
}

// append writes r. After an error the file is as before, or j takes no more.
func (j *journal) append(r Record) error {
	if j.broken != nil {
		return j.broken
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	info, err := j.file.Stat()
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if info.Size() != j.size {
		j.broken = fmt.Errorf("ledger: %s has %d bytes, want %d: another process writes to it", j.file.Name(), info.Size(), j.size)
		return j.broken
	}
	n, err := j.file.Write(append(line, '\n'))
	if err != nil {
		if undo := j.file.Truncate(j.size); undo != nil {
			j.broken = fmt.Errorf("ledger: %w, and undoing it: %w", err, undo)
			return j.broken
		}
		return fmt.Errorf("ledger: %w", err)
	}
	j.size += int64(n)
	return nil
}

func (j *journal) close() error { return j.file.Close() }
