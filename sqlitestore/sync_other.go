//go:build !unix

package sqlitestore

// syncDir does nothing where folders cannot be synced.
func syncDir(string) error { return nil }
