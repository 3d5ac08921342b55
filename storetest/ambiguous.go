package storetest

import (
	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/storesuite"
)

// Loss is what becomes of a call through Ambiguous.
type Loss = storesuite.Loss

// The fates of a call: answered, lost on the way to the store, or lost on the
// way back. The caller cannot tell the last two apart.
const (
	Deliver    = storesuite.Deliver
	LoseBefore = storesuite.LoseBefore // nothing was written
	LoseAfter  = storesuite.LoseAfter  // it was written
)

// ErrAnswerLost is the cause of every failure that Ambiguous makes.
var ErrAnswerLost = storesuite.ErrAnswerLost

// Ambiguous returns s behind a line that loses answers, as choose says at each
// call; op is "claim", "renew", "settle", "resolve", "checkpoint" or
// "evidence". A lost answer is a *StoreError that is not Clean. Everything else
// passes, and the result is a Transactor if s is one: a store reads an unclear
// commit of its own back before Transact returns.
//
// choose is called from the goroutine of each call.
func Ambiguous(s onceguard.Store, choose func(op string) Loss) onceguard.Store {
	return storesuite.Ambiguous(s, choose)
}
