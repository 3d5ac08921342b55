package pgtest

import "time"

// poll asks until done says true, and reports false after the limit. What it is
// used for (another process ends, a server answers) has no event to wait for.
func poll(limit time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
