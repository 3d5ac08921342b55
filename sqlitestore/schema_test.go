package sqlitestore_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
)

// The schema repeats the shapes of the transition table: no program can leave
// a row that the rules could not have written.
func TestSchemaRefusesOtherShapes(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	claimed, final, parked := grant(t, s, "claimed"), grant(t, s, "final"), grant(t, s, "parked")
	settle(t, s, success(final, []byte("paid")))
	settle(t, s, onceguard.Settlement{ID: parked.ID, Attempt: 1, Owner: parked.Owner, Verb: onceguard.SettleUnknown, Reason: "timeout"})
	must(t, s.AppendEvidence(ctx, onceguard.Evidence{ID: claimed.ID, Kind: onceguard.EvidenceLookup}))

	for _, c := range []struct {
		of     onceguard.Claim
		change string
	}{
		{claimed, "state = 0"},
		{claimed, "state = 6"},
		{claimed, "state = 3"}, // uncertain with a lease
		{claimed, "state = 4, lease_until = NULL"},
		{claimed, "lease_until = NULL"},
		{claimed, "owner = zeroblob(32)"},
		{claimed, "owner = x'00'"},
		{claimed, "attempt = 0"},
		{claimed, "attempt = -1"},
		{claimed, "settled_by = 'owner'"},
		{claimed, "result_body = x'00'"},
		{claimed, "result_gap = 1"},
		{claimed, "pruned = 1"},
		{claimed, "policy = 1"}, // safe-retry without a horizon
		{claimed, "policy = 4"},
		{claimed, "horizon = 5"},
		{claimed, "generation = -1"},
		{claimed, "unknown_attempt = 2"},
		{claimed, "request_id = x'00'"},
		{claimed, "request_id = NULL"},
		{claimed, "scope = ''"},
		{claimed, "key = ''"},
		{claimed, "action = printf('%.200c', 'a')"},
		{claimed, "fingerprint_sum = x'00'"},
		{claimed, "result_retention = -2"},
		{claimed, "created_at = 'yesterday'"},
		{final, "settled_by = ''"},
		{final, "lease_until = 1"},
		{final, "result_gap = 6"},
		{final, "result_gap = 2"}, // a reason for a missing body beside the body
		{final, "pruned = 1"},
		{final, "state = 2"}, // released with a result
		{final, "result_digest = x'00'"},
		{parked, "state = 1"},
		{parked, "attempt = 0"},
		{parked, "result_type = 'refund/1'"},
	} {
		t.Run(c.change, func(t *testing.T) {
			_, err := s.DB().Exec("UPDATE onceguard_receipt SET "+c.change+" WHERE request_id = ?", c.of.ID[:])
			refusedBySchema(t, err)
		})
	}
	for _, change := range []string{
		"UPDATE onceguard_evidence SET kind = ''",
		"UPDATE onceguard_evidence SET attempt = -1",
		"UPDATE onceguard_evidence SET body = zeroblob(65537)",
		"INSERT INTO onceguard_evidence SELECT NULL, request_id, kind, attempt, at, author, detail, body_digest, body FROM onceguard_evidence",
		"INSERT INTO onceguard_receipt SELECT * FROM onceguard_receipt",
		"INSERT INTO onceguard_store SELECT 2, store_id, epoch, frozen_why, min_version, file, created_at FROM onceguard_store",
		"UPDATE onceguard_store SET epoch = ''",
		"INSERT INTO onceguard_secret VALUES ('a', x'', 0, 0)",
	} {
		t.Run(change, func(t *testing.T) {
			_, err := s.DB().Exec(change)
			refusedBySchema(t, err)
		})
	}
}

func refusedBySchema(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "constraint failed") && !strings.Contains(err.Error(), "cannot store") {
		t.Errorf("the schema let it pass: %v", err)
	}
}

// A member that the schema refuses fails alone, also where it wrote half of
// what it had to before.
func TestMembersFailAlone(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	t.Run("claims", func(t *testing.T) {
		claims := []onceguard.Claim{request(t, "a"), request(t, "b"), request(t, "c")}
		claims[1].Action = ""
		list, err := s.Claim(ctx, claims)
		must(t, err)
		if list[0].Outcome != onceguard.Granted || list[2].Outcome != onceguard.Granted {
			t.Errorf("the neighbours are %s and %s", list[0].Outcome, list[2].Outcome)
		}
		storeErr(t, list[1].Err, true, true)
		for i, want := range []onceguard.State{onceguard.Claimed, onceguard.Absent, onceguard.Claimed} {
			if r := get(t, s, claims[i].ID); r.State != want {
				t.Errorf("record %d is %s, want %s", i, r.State, want)
			}
		}
	})
	t.Run("a row and its evidence", func(t *testing.T) {
		var claims []onceguard.Claim
		var settlements []onceguard.Settlement
		for i := range 3 {
			c := grant(t, s, fmt.Sprint("parked", i))
			claims = append(claims, c)
			settlements = append(settlements, onceguard.Settlement{ID: c.ID, Attempt: 1, Owner: c.Owner, Verb: onceguard.SettleUnknown, Reason: "timeout"})
		}
		// The evidence of one member cannot be stored; its row could.
		_, err := s.DB().Exec(fmt.Sprintf("CREATE TRIGGER no BEFORE INSERT ON onceguard_evidence WHEN NEW.request_id = x'%x' BEGIN SELECT raise(ABORT, 'no'); END", claims[1].ID[:]))
		must(t, err)
		list, err := s.Settle(ctx, settlements)
		must(t, err)
		storeErr(t, list[1].Err, true, true)
		for i, want := range []onceguard.State{onceguard.Uncertain, onceguard.Claimed, onceguard.Uncertain} {
			if r := get(t, s, claims[i].ID); r.State != want {
				t.Errorf("record %d is %s, want %s", i, r.State, want)
			}
		}
	})
}

// The hot paths must not read more as the store grows.
func TestPlans(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	const newest = " ORDER BY created_at DESC, request_id LIMIT ?"
	for name, c := range map[string]struct{ query, index string }{
		"one row":    {"SELECT * FROM onceguard_receipt WHERE request_id = ?", "onceguard_receipt_id (request_id=?)"},
		"evidence":   {"SELECT * FROM onceguard_evidence WHERE request_id = ? ORDER BY seq", "sqlite_autoindex_onceguard_evidence_1 (request_id=?)"},
		"sweep":      {sqlitestore.SelectClaimed, "onceguard_receipt_open (state=?)"},
		"first page": {"SELECT * FROM onceguard_receipt" + newest, "SCAN onceguard_receipt USING INDEX onceguard_receipt_created"},
		"next page": {
			"SELECT * FROM onceguard_receipt WHERE created_at <= ? AND (created_at < ? OR request_id > ?)" + newest,
			"onceguard_receipt_created (created_at<?)",
		},
		"open ones": {
			"SELECT * FROM onceguard_receipt INDEXED BY onceguard_receipt_open WHERE state IN (?) AND state IN (1, 3)" + newest,
			"onceguard_receipt_open (state=?)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := s.DB().Query("EXPLAIN QUERY PLAN "+c.query, make([]any, strings.Count(c.query, "?"))...)
			must(t, err)
			defer rows.Close()
			var plan []string
			for rows.Next() {
				var a, b, n int
				var detail string
				must(t, rows.Scan(&a, &b, &n, &detail))
				plan = append(plan, detail)
			}
			got := strings.Join(plan, "; ")
			sorts := strings.Contains(got, "TEMP B-TREE") && strings.HasSuffix(name, "page")
			if !strings.Contains(got, c.index) || sorts {
				t.Errorf("plan is %s, want %s without sorting", got, c.index)
			}
		})
	}
}
