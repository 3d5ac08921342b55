package mcppolicy

import "encoding/json"

// Answers are what a person said about tools when a policy was drafted; a
// missing one leaves the careful default and a comment that asks.
type Answers struct {
	Pass    map[string]bool    // by tool
	IsError map[string]IsError // by tool
}

// Draft makes the text of a policy file out of the result of a tools/list.
func Draft(server string, list json.RawMessage, a Answers) (string, error) { return "", nil }
