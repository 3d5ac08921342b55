// Package bounds holds limits that the public options enforce and that this
// repository's own tests lower, to see leases end in milliseconds.
package bounds

import "time"

// MinLease is the shortest lease that options accept. Below it a paused
// process, a slow disk or a clock step would end leases by accident.
var MinLease = 10 * time.Second
