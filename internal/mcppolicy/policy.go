package mcppolicy

import (
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/jsonpointer"
)

// Policy says how the tools of one server are treated.
type Policy struct {
	// Server is part of every receipt's identity and never changes.
	Server string
	// File is false for the defaults that hold without a policy file.
	File bool
	// Strict, without a file, guards also the tools that say they only read.
	Strict bool

	rules    []rule // the first that matches counts
	fallback Tool
}

type rule struct {
	pattern string
	tool    Tool
}

// Tool is the treatment of one tool.
type Tool struct {
	Guard bool
	Named bool // an entry of the file speaks of it

	Policy onceguard.Policy
	Limits onceguard.Limits
	// AnswerWithin bounds how long the first caller waits for the tool; then it
	// is told that the call is in flight. Zero: until it leaves.
	AnswerWithin time.Duration

	Identity   Identity
	IsError    IsError
	Repeat     Repeat
	Inject     Inject
	CancelSafe bool
	Result     ResultMode
	Pin        string // "sha256:HEX" of the canonical definition, or empty
}

// Identity says how calls of a tool are told apart.
type Identity struct {
	Key        []KeyPart             // the business key; nil: the arguments and their occurrence
	Template   []TemplatePart        // instead of Key
	Ignore     []jsonpointer.Pointer // in the arguments, not part of what a call says
	Meta       string                // a further _meta name that holds an explicit key
	CallIDs    []string              // _meta names of the host's id of the call; with a '/' in front, JSON pointers
	TurnIDs    []string              // likewise of the host's id of the turn
	ShowValues []jsonpointer.Pointer // whose values a drift may show
}

// Business reports whether there is a business key.
func (i Identity) Business() bool { return len(i.Key) > 0 || len(i.Template) > 0 }

// KeyPart is one part of a business key.
type KeyPart struct {
	Name    string
	Pointer jsonpointer.Pointer
}

// TemplatePart is a piece of a template: text, or the value at a pointer.
type TemplatePart struct {
	Text    string
	Pointer jsonpointer.Pointer // nil: Text
}

// Inject says where the downstream key goes, over any value of the model; at
// most one of the first three is set.
type Inject struct {
	Argument jsonpointer.Pointer
	Header   string
	Meta     string
	Length   int // characters; 0: all 52
}

// Set reports whether a downstream key is injected at all.
func (i Inject) Set() bool { return i.Argument != nil || i.Header != "" || i.Meta != "" }

// IsError says what a result with isError means for the effect.
type IsError string

// What isError can mean.
const (
	IsErrorUnknown     IsError = "unknown"      // it may have happened
	IsErrorRefused     IsError = "refused"      // it did not happen, and that is the receipt
	IsErrorNotExecuted IsError = "not-executed" // it did not happen, and may be tried again
	IsErrorSuccess     IsError = "success"      // it is a result like any other
)

// Repeat says what becomes of a call that happened, was answered, and is asked
// for again.
type Repeat string

// The ways to treat a repeat.
const (
	RepeatAsk    Repeat = "ask"    // stop, tell, and give a token for one repeat
	RepeatNew    Repeat = "new"    // it is a new intention
	RepeatReplay Repeat = "replay" // it never is
	RepeatMoney  Repeat = "money"  // stop; only a person can allow a repeat
)

// ResultMode says what is kept of a result.
type ResultMode string

// What is kept of a result.
const (
	ResultKeep      ResultMode = "keep"
	ResultDigest    ResultMode = "digest"    // its digest alone
	ResultSensitive ResultMode = "sensitive" // kept where the store encrypts, else its digest
)

// DefaultCallIDs are the _meta names of the host's id of a call: the same when
// the host sends the call again.
var DefaultCallIDs = []string{"claudecode/toolUseId", "callId"}

// DefaultTurnIDs are the places in _meta of the host's id of a turn of the model:
// VS Code's (https://github.com/openai/codex/issues/7951 quotes it) and Codex's
// (https://github.com/openai/codex/pull/21219).
var DefaultTurnIDs = []string{"vscode.requestId", "/x-codex-turn-metadata/turn_id"}

// Tool returns the treatment of a tool: the first entry that matches, and for a
// tool that no entry names the defaults, guarded.
func (p *Policy) Tool(name string) Tool {
	for _, r := range p.rules {
		if match(r.pattern, name) {
			return r.tool
		}
	}
	return p.fallback
}

// match reports whether name fits a pattern in which '*' stands for any text.
func match(pattern, name string) bool {
	star, rest := -1, 0
	i, j := 0, 0
	for j < len(name) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, rest = i, j
			i++
		case i < len(pattern) && pattern[i] == name[j]:
			i++
			j++
		case star >= 0:
			i = star + 1
			rest++
			j = rest
		default:
			return false
		}
	}
	for i < len(pattern) && pattern[i] == '*' {
		i++
	}
	return i == len(pattern)
}
