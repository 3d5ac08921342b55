// Package pgstore keeps receipts in PostgreSQL 15 or later.
//
// Open connects with connections of its own and never changes the schema;
// Migrate does that, before the first Open and after an upgrade.
//
// # What is promised
//
// Every answered write is committed with synchronous_commit on: it survives
// kill -9 of the server and loss of power, as far as fsync and the disk tell
// the truth (Store.Info says what was found). It survives a failover if, and
// only if, the server waits for a synchronous standby.
//
// A failover or a restored backup changes the store's epoch: the system
// identifier and the timeline of the server, compared inside each claim's own
// transaction. In a new epoch, claims may have been forgotten, so at-most-once
// claims are answered Frozen until a person acknowledges the epoch.
//
// # What is not promised
//
// A dump restored into the same cluster by other means than Load, or a data
// directory copied back without archive recovery, has the same epoch and is not
// detected. With Options.NoEpoch nothing of the kind is. No
// store can stop a paused process between its last check and the first byte
// that it sends.
//
// # How it works
//
// The common cases are conditional statements by primary key: a first claim, a
// renewal and an outcome take one round trip and one commit, a replay one round
// trip to find the claim refused and one to read, and no write. All else takes
// the row's lock, reads the clock, asks the Record rule of the root package, and
// writes what it decided in the same transaction, alone. There are no triggers,
// sequences, session locks or notifications, and no statement is ever
// cancelled: a cancelled commit may be answered as durable while no standby has
// it.
//
// Calls of the common kinds that are made at the same time share transactions
// (group commit), claims with claims and outcomes with outcomes; Store.Stats
// shows it. A lone caller's call is sent at once, on its own goroutine. What is
// wrong with one request never harms its neighbours: a statement that the server
// refuses is sent again for each alone, under the same token, and a commit
// without an answer is unknown to each, which each finds out by asking again.
//
// It imports the root package, pgx, goose (through internal/sqlmigrate) and no
// other store.
package pgstore
