// Package proxy is the guarding reverse proxy of `onceguard proxy`: it stands
// between any program and an upstream API, and runs the writes that its
// configuration names at most once per key.
//
// A guarded write is read whole, claimed, forwarded once on a connection of its
// own, and its answer is stored before the caller gets it; the HTTP side of that
// is httpguard's middleware. Reads, and writes that the configuration passes, go
// through as they come. Everything else is refused. Destinations come from the
// configuration alone.
package proxy
