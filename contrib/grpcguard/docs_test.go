package grpcguard_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/contrib/grpcguard"
)

var hump = regexp.MustCompile("([a-z])([A-Z])")

// wireName is a code as the protocol spells it.
func wireName(code string) string { return strings.ToUpper(hump.ReplaceAllString(code, "${1}_${2}")) }

// TestDocs holds the tables of the page to the code.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/grpc.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(strings.Trim(line, "|\n "), " | "); len(cells) > 2 && strings.HasPrefix(cells[0], "`") {
			rows[strings.Trim(cells[0], "`")] = cells
		}
	}
	reasons := grpcguard.Reasons()
	for name, r := range reasons {
		row := rows[name]
		if len(row) != 4 || row[1] != "`"+wireName(r[0])+"`" || row[3] != "`"+r[1]+"`" {
			t.Errorf("%s is %v in the code and %q in the page", name, r, row)
		}
		delete(rows, name)
	}
	classes := map[onceguard.StatusClass]string{
		onceguard.StatusSucceeded: "succeeded: stored, replayed", onceguard.StatusRefused: "refused", onceguard.StatusUnknown: "unknown",
	}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		st := status.New(code, "")
		name := wireName(code.String())
		row := rows[name]
		if len(row) != 3 || row[1] != classes[grpcguard.ClassifyHandler(st)] || row[2] != classes[grpcguard.ClassifyPeer(st)] {
			t.Errorf("%s is %q in the page", name, row)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("the page has a row for %s, which the code does not know", name)
	}
}
