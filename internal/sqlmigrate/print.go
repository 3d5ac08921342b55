package sqlmigrate

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pressly/goose/v3"
)

// Print writes the SQL of all migrations in order, each under a comment with
// its file name, for people who review a schema before it touches a database.
// The version table itself is not in it: Up creates it.
func Print(w io.Writer, fsys fs.FS) error {
	list, err := migrations(fsys)
	if err != nil {
		return err
	}
	for i, m := range list {
		gap := ""
		if i > 0 {
			gap = "\n"
		}
		if _, err := fmt.Fprintf(w, "%s-- %s (version %d)\n%s\n", gap, m.name, m.version, strings.TrimSpace(m.sql)); err != nil {
			return err
		}
	}
	return nil
}

type migration struct {
	version int64
	name    string
	sql     string
}

// migrations reads the *.sql files of fsys in order of their version. One that
// could go backwards is refused: taking a table away from a memory of
// irreversible actions must never be one command away.
func migrations(fsys fs.FS) ([]migration, error) {
	names, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("migrations: no *.sql files")
	}
	list := make([]migration, 0, len(names))
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", path.Base(name), err)
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", path.Base(name), err)
		}
		if strings.Contains(string(text), "+goose Down") {
			return nil, fmt.Errorf("migration %s has a Down section; schemas only go forward", path.Base(name))
		}
		list = append(list, migration{version: version, name: path.Base(name), sql: string(text)})
	}
	slices.SortFunc(list, func(a, b migration) int { return cmp.Compare(a.version, b.version) })
	return list, nil
}
