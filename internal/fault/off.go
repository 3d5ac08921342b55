//go:build !failpoint

package fault

// Enabled says whether this build has failpoints.
const Enabled = false

// Point marks a place where tests may end or hold up the process. It does
// nothing in this build.
func Point(string) {}

// PointErr marks a place where tests may also inject an error. It returns nil
// in this build.
func PointErr(string) error { return nil }
