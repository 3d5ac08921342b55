package guardtest

// crashCases take the process or the store away.
var crashCases = []testCase{
	{"crash while in flight", func(f *fixture) {
		end := f.inFlight(first)
		f.store.ExpireLeases()
		f.restart()
		f.send(first, Uncertain) // a lapsed lease is no permission to run
		f.took(first, 1, 0)
		end() // not dead after all: a late result still settles
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"crash after the effect", func(f *fixture) {
		f.store.LoseNext(Settle, true)
		f.sendDone(first)
		f.restart()
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"claim answer lost, written", func(f *fixture) { f.lost(Claim, true) }},
	{"claim answer lost, not written", func(f *fixture) { f.lost(Claim, false) }},
	{"settle answer lost, written", func(f *fixture) { f.lost(Settle, true) }},
	{"settle answer lost, not written", func(f *fixture) { f.lost(Settle, false) }},
	{"store down before the start", func(f *fixture) {
		f.store.Down()
		f.send(first, Again)
		f.took(first, 0, 0)
		f.store.Up()
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"store down after the effect", func(f *fixture) {
		end := f.inFlightFor(f.ctx, first)
		f.store.Down()
		// It is done and not on record yet: an adapter says so, or says that it
		// is not known. It never says that nothing happened.
		f.expect(end(), Done, Uncertain, InProgress)
		f.store.Up()
		if err := f.guard.Close(f.ctx); err != nil { // waits for the outcome to be stored
			f.Fatal(err)
		}
		f.restart()
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
}

// lost loses two answers in a row.
func (f *fixture) lost(c Call, written bool) {
	f.Helper()
	f.store.LoseNext(c, written)
	f.store.LoseNext(c, written)
	f.sendDone(first)
	f.sendDone(first)
	f.took(first, 1, 1)
}
