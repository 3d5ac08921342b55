// Package mcpwire reads and writes the messages of the Model Context Protocol
// without changing a byte of them: JSON-RPC 2.0 (https://www.jsonrpc.org/specification)
// as lines on a pipe, and as server-sent events.
//
// Libraries decode ids into floats, drop members that they do not know and order
// the rest anew. A transparent proxy must do none of that. Here a message is the
// bytes that came, and what is known about it are slices of them; a message that
// has to change is cut and joined at those slices.
package mcpwire
