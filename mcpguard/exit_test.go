package mcpguard_test

import "runtime"

// exit ends the goroutine, as a test's FailNow inside a handler does.
func exit() { runtime.Goexit() }
