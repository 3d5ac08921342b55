//go:build failpoint

package bounds

import "time"

// Binaries with failpoints are test binaries: their crash tests wait for
// leases to end.
func init() { MinLease = 50 * time.Millisecond }
