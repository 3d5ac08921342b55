// Package mcpguard guards tool calls of the Model Context Protocol in programs
// that use the official Go SDK: on the side of the server, whose tools then take
// effect once per intention whatever the client does, and on the side of a Go
// host, for servers of others.
//
//	guarded, err := mcpguard.Receiving(ctx, guard, mcpguard.Options{Server: "payments", Scope: mcpguard.TokenUser})
//	server.AddReceivingMiddleware(guarded.Wrap)
//
//	guarded, err := mcpguard.Sending(ctx, guard, mcpguard.Options{Server: "payments"})
//	client.AddSendingMiddleware(guarded.Wrap)
//
// It is the engine of the proxy `onceguard mcp`: the same identity of calls, the
// same verdicts, the same receipts, the same policy. docs/mcp.md says what a
// model is told, docs/mcp-policy.md what a policy can say.
//
// # What an effect's outcome is
//
// A tool's result is its receipt, and a repeat of the call gets it byte for
// byte. A result with isError is an unknown outcome unless the policy says
// otherwise, or the server's handler says it itself: a handler added with
// mcp.AddTool that returns an error made with onceguard.NotExecuted or
// onceguard.Refused (the SDK makes a result with isError of it and keeps the
// error), and any handler that calls CallToolResult.SetError with one. Arguments
// that the SDK refuses by the tool's schema executed nothing. A handler
// that returns a *jsonrpc.Error, or any handler added with Server.AddTool that
// returns an error, answers with a JSON-RPC error: the codes -32601 and -32602
// say that nothing ran, the marks above say what they say, and all else is
// unknown. A panic of a handler is an unknown outcome too; it is logged and the
// process goes on.
//
// # What is not promised
//
// A server sees what the SDK shows it: members that the SDK does not know are
// gone before the guard looks, and of a repeated member in a request's params,
// outside its arguments, the last one counts. The answer counts as delivered
// when the SDK has written it while its client was there; that a proxy in
// between lost it cannot be seen here. The repeat is then answered with "it
// happened", and never run.
package mcpguard
