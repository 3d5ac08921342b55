// Package sqlitestore keeps receipts in a SQLite file: for one machine, and for
// as many processes on it as like. It needs no cgo.
//
// What an acknowledged write survives: the crash of every process, and a power
// cut as far as the disk keeps what it was told to sync. Every connection runs
// in WAL mode with synchronous=FULL, read back before it is used. Every write
// is one BEGIN IMMEDIATE transaction; a database that stays busy longer than
// Options.Busy means that nothing was written.
//
// Calls that come at the same time share a transaction and its sync: claims,
// settles, renewals and other short writes of one process travel together. A
// lone caller waits for nobody. One member's bad input, mismatch or cancellation
// does no harm to the others; whether a failed commit was written is as unclear
// to all of them as it is to one. Stats counts. Between batches the write lock
// is free, so that other processes and Transact get their turn.
//
// What it does not survive: losing the file. These are refused or noticed:
//   - network file systems, where SQLite's locks do not hold, are refused;
//   - overlay and FUSE mounts and memory disks are warned about;
//   - a file that is replaced or removed while open fails every call from then on;
//   - a file that is a copy of the one last opened (a backup put back, another
//     machine) has a new epoch and is frozen until a person acknowledges it;
//   - a damaged file is refused, never recreated: an empty store remembers nothing.
//
// Not noticed: a machine snapshot that is taken back in time, and a copy by
// other means than Backup that is written over the original in place.
//
// On a full disk the store stops granting claims while it can still store
// receipts: it wants Options.Reserve free before it grants. A receipt that does
// not fit is stored without its body (onceguard.BodyDiskFull), and if that does
// not fit either, a ballast file beside the database is given back first.
//
// A process must not open the database file by other means while a store has it
// open: POSIX drops all locks of a process on a file when any descriptor of it
// is closed. TuneProcess removes this trap on Linux. Copy the file only with
// Backup or with SQLite's own tools.
//
// Imports the root package, goose through internal/sqlmigrate, and the driver
// modernc.org/sqlite.
package sqlitestore
