// Package shim gives a command a process, and so a pid, before it runs.
//
// The owner of a claim is named when the claim is written, which is before the
// effect starts, and a command that runs on after its parent died must be part
// of that name. So a tiny process is started first: this program again, which
// waits on an inherited pipe. When the claim is granted, the parent sends the
// environment, and the process becomes the command by execve, which keeps its
// pid. If the parent dies first, the pipe ends and the process exits: only a
// whole message lets it go on.
//
// execve's own failure comes back over a second pipe that a success closes
// (FD_CLOEXEC): then the command surely did not start.
//
// Signals that a terminal sends to the whole group while the process waits are
// dropped there; the parent has them too and decides. They are caught, not
// ignored, because execve keeps ignored signals ignored and resets caught ones.
//
// Unix only; elsewhere Start returns ErrUnsupported. Imports the standard
// library alone.
package shim
