package bounds

import "time"

// Jitter, where it is set, stands in for the guard's jitter: a simulation gives
// one that its seed decides. Set it before any guard exists.
var Jitter func(time.Duration) time.Duration
