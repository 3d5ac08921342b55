package sqlitestore_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/storetest"
)

// BenchmarkStore compares the store with the two statements that people write
// without a guard, on the same driver, durability and disk:
//
//	go test -run - -bench Store -count 10 ./sqlitestore | tee new.txt
//	benchstat -col /guarded new.txt
func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) storetest.Harness {
		h := harness(b)
		h.Naive = naive
		return h
	})
}

// naive inserts a key and later marks it done, one connection, prepared. One
// connection is the strongest choice: more of them queue by polling.
func naive(b *testing.B) (claim, settle func(onceguard.RequestID) error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "naive.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	must(b, err)
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE done (id BLOB PRIMARY KEY, result BLOB) WITHOUT ROWID")
	must(b, err)
	insert, err := db.Prepare("INSERT INTO done (id) VALUES (?)")
	must(b, err)
	update, err := db.Prepare("UPDATE done SET result = ? WHERE id = ?")
	must(b, err)
	result := []byte(`{"paid":true}`)
	claim = func(id onceguard.RequestID) error { _, err := insert.Exec(id[:]); return err }
	settle = func(id onceguard.RequestID) error { _, err := update.Exec(result, id[:]); return err }
	return claim, settle
}
