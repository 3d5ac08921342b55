// Package model holds a Promela model of the guard's protocol and the test that
// runs it: spin writes a verifier, which explores every schedule within the
// bounds of each line of variants.txt. docs/model.md explains it.
//
// The model's transitions are those of [onceguard.Transitions]: transitions.h is
// generated from that table, every write of the state in the model is checked
// against it, and the test fails when a line of it is neither taken by a run nor
// named as outside.
package model
