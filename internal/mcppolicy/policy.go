package mcppolicy

import (
	"encoding/json"

	"github.com/onceguard/onceguard"
)

// Policy says how the tools of one server are treated.
type Policy struct {
	// Server is part of every receipt's identity and never changes.
	Server string
	// File is false for the defaults that hold without a policy file.
	File bool
	// Strict, without a file, guards also the tools that say they only read.
	Strict bool
}

// Tool is the treatment of one tool.
type Tool struct {
	Guard  bool
	Named  bool // an entry of the file speaks of it
	Policy onceguard.Policy
	Limits onceguard.Limits
	Pin    string // "sha256:HEX" of the canonical definition, or empty
}

// Load reads and checks a policy file.
func Load(path string) (*Policy, error) { return nil, nil }

// Parse is Load for the text of a policy.
func Parse(data []byte) (*Policy, error) { return nil, nil }

// Default is the policy without a file: tools that say they only read pass,
// unless strict; every other tool is guarded.
func Default(server string, strict bool) (*Policy, error) {
	return &Policy{Server: server, Strict: strict}, nil
}

// Tool returns the treatment of a tool.
func (p *Policy) Tool(name string) Tool { return Tool{} }

// Answers are what a person said about tools when a policy was drafted; a
// missing one leaves the careful default and a comment that asks.
type Answers struct {
	Pass    map[string]bool   // by tool
	IsError map[string]string // by tool: unknown, refused, not-executed, success
}

// Draft makes the text of a policy file out of the result of a tools/list.
func Draft(server string, list json.RawMessage, a Answers) (string, error) { return "", nil }
