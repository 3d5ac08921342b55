// Package mcptest is the proof of the MCP proxy with real peers: a tool server
// that misbehaves on request and whose effects a ledger counts in another
// process, the official conformance suite, public MCP servers and clients from
// npm, and an agent of the Vercel AI SDK whose model is a script.
//
// What must come out is written in docs/mcp-evidence.md, and the tests read that
// very table. The package itself holds what the tests and the tool server share:
// the plan by which the server misbehaves and the trace that it writes.
//
// The tests need Linux, for signals and process states, and Node with npm for
// other people's code. What is missing is skipped loudly, and fails where
// CI=true.
package mcptest
