package storeverify

import "slices"

// Promise is what a user relies on, and what became of the cases that try it.
type Promise struct {
	Promise string  `json:"promise"`
	Verdict Verdict `json:"verdict"` // broken if any case is; skipped if all were
	Kept    int     `json:"kept"`
	Broken  int     `json:"broken"`
	Skipped int     `json:"skipped"`
}

// promises says which groups of the suite try what. Every group is in one.
var promises = []struct {
	text   string
	groups []string
}{
	{"of all who ask for one request one wins, and concurrent histories have one order that explains them (linearizable)", []string{"claim", "race", "history"}},
	{"a lapsed claim is parked or taken over by its policy, never run again because time has passed", []string{"takeover", "sweep", "clock"}},
	{"a result settles however late, a superseded attempt changes nothing, and what is final stays as it is", []string{"settle", "renew"}},
	{"a lookup or a person settles only what is still uncertain, and evidence is kept", []string{"resolve", "evidence"}},
	{"what was answered is there after the connection, or the process, is gone", []string{"durable"}},
	{"a claim, the caller's rows and the receipt are committed together or not at all", []string{"transact"}},
	{"a failover, a restore or another store is noticed, and nothing starts there by itself", []string{"epoch", "archive"}},
	{"receipts can be listed, imported and pruned, and secrets are made once", []string{"list", "prune", "import", "secrets"}},
}

// Promises sums results up by promise.
func Promises(results []Result) []Promise {
	var out []Promise
	for _, p := range promises {
		sum := Promise{Promise: p.text, Verdict: Skipped}
		for _, r := range results {
			if !slices.Contains(p.groups, r.Group) {
				continue
			}
			switch r.Verdict {
			case Kept:
				sum.Kept++
			case Broken:
				sum.Broken++
			default:
				sum.Skipped++
			}
		}
		switch {
		case sum.Broken > 0:
			sum.Verdict = Broken
		case sum.Kept > 0:
			sum.Verdict = Kept
		}
		out = append(out, sum)
	}
	return out
}

// Unseen is what no test from outside can show of a store of a kind.
func Unseen(kind string) []string {
	unseen := []string{
		"that an acknowledged write survives a crash or a power cut: the settings above say so, and a disk or a hypervisor that lies about its syncs does not",
		"that a backup which is copied back under the same identity is noticed: it is not (docs/operations.md)",
		"how long the answer to one call may stay away here",
	}
	if kind == "postgres" {
		return append(unseen, "a real failover: with an asynchronous standby it may forget acknowledged claims, which freezes the store; with a synchronous one it does not")
	}
	return append(unseen, "that other machines stay away from the file: two hosts on one network file would both believe that they hold its lock")
}
