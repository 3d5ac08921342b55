// Package mcpproxy is the transparent proxy of `onceguard mcp`: it stands
// between a client and a server of the Model Context Protocol, over a child
// process's pipes or over streamable HTTP, and runs guarded tool calls at most
// once.
//
// Bytes are passed on as they come, both ways and whatever they mean. Looked at
// are requests of tools/call, the answers to tools/list and to tasks/…, and
// cancellations of guarded calls. Which calls are guarded, and what becomes of
// them, is mcpcall's to decide; this package forwards, matches answers, and
// writes.
//
// The client's end is not the call's: a guarded call that was forwarded is
// waited for, and its outcome stored, when the client has cancelled it, closed
// its stream or died.
package mcpproxy
