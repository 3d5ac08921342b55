package crashtest_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNothingOfThisIsReleased: what makes crashes possible must not be in the
// command that is released. That it holds no failpoints is a test of package
// fault.
func TestNothingOfThisIsReleased(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../../cmd/onceguard").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	deps := strings.Fields(string(out))
	for _, dep := range deps {
		for _, part := range []string{"crashtest", "pgtest", "cutproxy", "storetest"} {
			if strings.HasSuffix(dep, "/"+part) || strings.Contains(dep, "/"+part+"/") {
				t.Errorf("the command depends on %s", dep)
			}
		}
	}
	if len(deps) < 50 {
		t.Errorf("go list gave %d packages, which cannot be all", len(deps))
	}
}
