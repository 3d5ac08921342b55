package mcpguard

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// Policy says how the tools of one server are treated. Make one with PolicyFile,
// ParsePolicy or NewPolicy.
type Policy struct{ parsed *mcppolicy.Policy }

// PolicyFile reads the same YAML file as `onceguard mcp --config`, which
// docs/mcp-policy.md explains. Errors name the line and what to write instead.
func PolicyFile(path string) (*Policy, error) { return policyOf(mcppolicy.Load(path)) }

// ParsePolicy is PolicyFile for the text of a policy.
func ParsePolicy(yaml []byte) (*Policy, error) { return policyOf(mcppolicy.Parse(yaml)) }

// NewPolicy makes a policy in Go. The first tool whose name matches counts, and
// tools that none names are guarded with the defaults of docs/mcp-policy.md; a
// last Tool named "*" sets others. server is what Options.Server explains.
func NewPolicy(server string, tools ...Tool) (*Policy, error) {
	entries := make([]entry, len(tools))
	for i, t := range tools {
		e, err := t.entry()
		if err != nil {
			return nil, fmt.Errorf("mcpguard: tool %.60q: %w", t.Name, err)
		}
		entries[i] = e
	}
	// One reader for files and for Go, so that both mean and refuse the same.
	doc, err := json.Marshal(map[string]any{"version": 1, "server": server, "tools": entries})
	if err != nil {
		return nil, fmt.Errorf("mcpguard: %w", err)
	}
	parsed, err := mcppolicy.Parse(doc)
	if err != nil {
		// The document has one line, and nobody sees it.
		return nil, fmt.Errorf("mcpguard: %s", strings.TrimPrefix(err.Error(), "line 1: "))
	}
	return &Policy{parsed}, nil
}

func policyOf(p *mcppolicy.Policy, err error) (*Policy, error) {
	if err != nil {
		return nil, fmt.Errorf("mcpguard: %w", err)
	}
	return &Policy{p}, nil
}

// IsError says what a result with isError means for the effect.
type IsError string

// What isError can mean. A server's handler may say it itself, see the package.
const (
	IsErrorUnknown     IsError = "unknown"      // it may have happened; the default
	IsErrorRefused     IsError = "refused"      // it did not happen, and that is the receipt
	IsErrorNotExecuted IsError = "not-executed" // it did not happen, and may be tried again
	IsErrorSuccess     IsError = "success"      // it is a result like any other
)

// Repeat says what becomes of a call that succeeded, was answered, and comes again.
type Repeat string

// The ways to treat a repeat.
const (
	RepeatAsk    Repeat = "ask"    // it is told so, and gets a token for one repeat; the default
	RepeatNew    Repeat = "new"    // it runs
	RepeatReplay Repeat = "replay" // it gets the recorded result
	RepeatMoney  Repeat = "money"  // only a person can allow it
)

// Keep says what is stored of a result.
type Keep string

// What is stored of a result.
const (
	KeepResult    Keep = "keep"      // all of it; the default
	KeepDigest    Keep = "digest"    // its digest alone
	KeepSensitive Keep = "sensitive" // all of it where the store encrypts, else its digest
)

// Tool is how the policy treats one tool, or all whose names match a pattern. The
// zero value of a field is the default.
type Tool struct {
	Name string // or a pattern, in which '*' stands for any text
	Pass bool   // forwarded untouched; nothing else but Pin may be set then
	Pin  string // "sha256:" and the digest of the tool's definition

	// Policy is the guard's: at-most-once, safe-retry (which needs Inject) or rerun.
	Policy onceguard.Policy
	// Limits are the guard's; Wait, MaxRun, Lease and the retentions may be set.
	Limits onceguard.Limits
	// AnswerWithin bounds how long any caller waits before it is told "in
	// flight"; the tool goes on. Zero: until the client leaves.
	AnswerWithin time.Duration

	Identity   Identity
	IsError    IsError
	Repeat     Repeat
	Keep       Keep
	Inject     Inject
	CancelSafe bool // a cancellation ends the tool's context; its outcome is then unknown
}

// Identity says how calls of a tool are told apart. Pointers are JSON pointers
// (RFC 6901) into the arguments.
type Identity struct {
	Key        []string // pointers that name the effect, such as /order_id
	Template   string   // instead of Key: text with pointers in braces
	Ignore     []string // pointers to what does not count, such as a free comment
	Meta       string   // a further _meta name of an explicit key, set by hosts
	CallIDs    []string // _meta names of the host's id of a call; nil: the known ones
	TurnIDs    []string // likewise of its id of a turn
	ShowValues []string // pointers whose earlier values a drift may show
}

// Inject says where the downstream key goes, over any value of the model: at most
// one of the first three. A server's handler finds it there and hands it on.
type Inject struct {
	Argument string // a pointer into the arguments
	Header   string // a header of the handler's request (Receiving alone)
	Meta     string // a name in _meta
	Length   int    // cut to so many characters, at least 20; 0 is 52
}

// entry is a tool as the policy file writes it.
type entry struct {
	Name              string    `json:"name"`
	Mode              string    `json:"mode,omitempty"`
	Pin               string    `json:"pin,omitempty"`
	Policy            string    `json:"policy,omitempty"`
	Horizon           string    `json:"horizon,omitempty"`
	RemembersRefusals *bool     `json:"remembers_refusals,omitempty"`
	MaxAttempts       int       `json:"max_attempts,omitempty"`
	Identity          *identity `json:"identity,omitempty"`
	IsError           IsError   `json:"is_error,omitempty"`
	Repeat            Repeat    `json:"repeat,omitempty"`
	Inject            *inject   `json:"inject,omitempty"`
	CancelSafe        bool      `json:"cancel_safe,omitempty"`
	Result            Keep      `json:"result,omitempty"`
	Wait              string    `json:"wait,omitempty"`
	AnswerWithin      string    `json:"answer_within,omitempty"`
	MaxRun            string    `json:"max_run,omitempty"`
	Lease             string    `json:"lease,omitempty"`
	ResultRetention   string    `json:"result_retention,omitempty"`
	IdentityRetention string    `json:"identity_retention,omitempty"`
}

type identity struct {
	Key        []string `json:"key,omitempty"`
	Template   string   `json:"template,omitempty"`
	Ignore     []string `json:"ignore,omitempty"`
	Meta       string   `json:"meta,omitempty"`
	CallIDs    []string `json:"call_ids,omitempty"`
	TurnIDs    []string `json:"turn_ids,omitempty"`
	ShowValues []string `json:"show_values,omitempty"`
}

type inject struct {
	Argument string `json:"argument,omitempty"`
	Header   string `json:"header,omitempty"`
	Meta     string `json:"meta,omitempty"`
	Length   int    `json:"length,omitempty"`
}
