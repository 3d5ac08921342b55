// Package archtest holds the rules of the code base that a compiler does not:
// who may import whom, what packages are called, how long files get, and what
// must not stand in a tracked file. One test applies them to the module; others
// show each rule failing on made-up input.
//
// Arrows, in one picture (a package imports what is to its right or below):
//
//	cmd/onceguard → internal/cli → stores, adapters → root → standard library
//	storetest, guardtest, pgtest, npmtest, cutproxy: tests only, never in the program
package archtest
