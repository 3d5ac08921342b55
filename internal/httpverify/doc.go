// Package httpverify tries how a server keeps its promise of idempotency: it
// sends requests with keys, repeats them, changes them, races them and loses
// their answers, and reports what is kept and what is broken. It judges by
// answers, and by a count of effects where the target offers one.
//
// It causes real effects at its target: several, by design.
package httpverify
