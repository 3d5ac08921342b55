// Package fault holds the failpoints of the crash tests: named places in the
// guard, the stores and the command where a test kills, stops, delays or fails
// the process.
//
// A normal build has none of it: Point and PointErr are empty, are inlined, and
// leave neither code nor names in the binary. Build with the tag failpoint to
// switch them on. They then obey the environment variable ONCEGUARD_FAULT, read
// once at start, a list of rules separated by semicolons:
//
//	guard.claim.after=kill; guard.settle.before@2=error; guard.effect.before=delay:3s
//	guard.effect.after%/dir/fuse=kill
//
// A rule is POINT[@N][%FUSE]=ACTION. @N fires at the Nth time this process
// reaches the point and at no other; without it the rule fires every time.
// %FUSE names a fuse file: the rule fires only if the file does not exist, and
// creates it, so that the next process with the same environment goes on
// living. The first rule of a point that applies is the one that fires.
//
//	kill      SIGKILL to this process
//	stop      SIGSTOP to this process; goes on after SIGCONT (Unix)
//	exit:N    exit with status N, deferred functions do not run
//	error     the point returns an *InjectedError (PointErr only)
//	delay:D   sleep D, a Go duration
//	panic     panic with an *InjectedError
//	goexit    runtime.Goexit
//
// An unknown point, a malformed rule, or error at a point that cannot return
// one ends the process at once with status 125 and a line on standard error: a
// crash test whose crash never comes proves nothing. For the same reason
// ONCEGUARD_FAULT_TRACE may name a file that gets a line "PID POINT COUNT
// ACTION" (ACTION is "-" where no rule fired) each time a point is reached, so
// that a test can check that its rule fired.
//
// Imports the standard library alone.
package fault
