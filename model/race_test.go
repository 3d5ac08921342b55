//go:build race

package model

// The verifiers are C programs: the race detector sees nothing of them.
const race = true
