// Package mcppolicy reads the policy file of the MCP gate: which tools of a
// server pass, which are guarded, and how. docs/mcp-policy.md explains every key.
package mcppolicy
