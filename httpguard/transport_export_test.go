package httpguard

import "testing"

// SetReady replaces Attempt.Ready for a transport's attempts.
func SetReady(t testing.TB, tr *Transport, ready func() error) {
	t.Helper()
	tr.ready = ready
}
