// Package cli is the onceguard command: one file per command, the flags as
// structs, and Main as its only entry. It reads flags, files and the
// environment, names the concrete stores, and prints; every rule of the guard
// itself is in the root package.
//
// Only main.go of cmd/onceguard ends the process; Main returns the exit status,
// so that tests run the whole program.
package cli
