// Package process names operating system processes so that another process on
// the same host can later say whether they are dead. The guard keeps the names
// of a claim's owners (itself, and the child of "onceguard run") with the claim:
// an at-most-once claim whose owners are all dead is parked as uncertain at
// once, without waiting for its lease.
//
// Dead is a statement of fact about this host and is made only from what the
// kernel says: no such pid, or a pid that was given to a later process, or a
// process without a running thread. Everything else is Alive or Unknown.
//
// A different boot is Unknown, also when both name the same machine id. That
// the machine was started again, and all its processes with it ended, would
// follow only if machine ids were unique. They are not: containers carry the id
// of their image, and virtual machines are cloned with it, so that "same
// machine, other boot" may be a neighbour in good health. A reboot therefore
// costs a wait for the lease, which is at worst slow.
//
// What Dead does not say:
//   - that nothing of the owner is on its way: bytes it sent may arrive later;
//   - that processes are dead which the name does not list, such as a
//     grandchild, or a child whose pid was not yet recorded;
//   - anything about a machine or process that was frozen, copied and thawed
//     (VM snapshots, CRIU): copies share boot, pid and namespace numbers.
//
// That is why only parking may follow from it, which a living owner survives:
// its late outcome still settles the record.
//
// Imports the standard library alone.
package process
