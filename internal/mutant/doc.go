// Package mutant plants known bugs in the code, to prove that the tests see
// them: each is a guarantee broken on purpose, at the line that upholds it.
//
// A normal build has none of it: On is false, is inlined, and leaves neither
// code nor names in the binary. Build with the tag mutant to have them all, and
// switch one on by the environment variable ONCEGUARD_MUTANT, read once at
// start. An unknown name ends the process at once with status 125: a mutant
// that was never there proves nothing by dying.
//
// The table says for each mutant what it breaks and which ring of
// docs/proof.md must notice; TestEachMutantDies runs them all and fails unless
// each is noticed.
//
// Imports the standard library alone.
package mutant
