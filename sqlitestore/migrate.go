package sqlitestore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/onceguard/onceguard/internal/sqlmigrate"
)

//go:embed migrations/*.sql
var embedded embed.FS

// target is the schema version that this program was written for.
const target = 1

// migrate brings the schema forward, or refuses what is not for this program.
func (s *Store) migrate(ctx context.Context, mustExist bool) error {
	current, known, err := sqlmigrate.Version(ctx, s.read, sqlmigrate.SQLite, migrations())
	if err != nil {
		return err
	}
	if known != target {
		return fmt.Errorf("the migrations lead to version %d and the code expects %d: this is a bug in the store", known, target)
	}
	if current == 0 && mustExist {
		return refused("", "the database %s holds no receipts and remembers nothing: check the path, or create the store explicitly", s.path)
	}
	if s.from = current; current > target {
		return nil // admits decides, by min_version
	}
	from, to, err := sqlmigrate.Up(ctx, s.write, sqlmigrate.SQLite, migrations())
	if err != nil {
		return err
	}
	s.from, s.created = from, from == 0
	if from != to {
		s.log.InfoContext(ctx, "schema migrated", "store", s.path, "from", from, "to", to)
	}
	return nil
}

func migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

// PrintMigrations writes the SQL of the whole schema, for review.
func PrintMigrations(w io.Writer) error { return sqlmigrate.Print(w, migrations()) }

// Migrate creates the store or brings its schema forward, as Open does, and
// returns the schema version before and after.
func Migrate(ctx context.Context, path string) (from, to int64, err error) {
	s, err := Open(ctx, path, nil)
	if err != nil {
		return 0, 0, err
	}
	info, err := s.Info(ctx)
	return s.from, info.Schema, errors.Join(err, s.Close())
}
