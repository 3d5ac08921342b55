package mcpguard

import (
	"encoding/json"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard/internal/mcpcall"
)

// Verdict is what the guard says in a result's _meta, for programs. docs/mcp.md
// lists the names and what they mean.
type Verdict struct {
	Name       string        // such as "uncertain", "drift", "repeat", "replayed"
	Tool       string        // the tool that was called
	RequestID  string        // of the receipt, where there is one
	State      string        // of the receipt
	FirstAt    time.Time     // when the receipt got there, by the store's clock
	MayHaveRun bool          // the effect may have happened, by this call or an earlier one
	NextStep   string        // such as "ask-a-person"
	Reason     string        // why, where that is known
	RetryAfter time.Duration // when to ask again, for "in-flight"

	ChangedFields []string // "drift": JSON pointers of the arguments that differ
	RepeatToken   string   // "repeat": what allows one more, where a token may
}

// ReadVerdict reads the guard's verdict out of a result. It reports false for a
// result that is the tool's own, and for a replay that looks just like the first
// answer because nobody had that one yet.
func ReadVerdict(r *mcp.CallToolResult) (Verdict, bool) {
	if r == nil || r.Meta[mcpcall.MetaWord] == nil {
		return Verdict{}, false
	}
	raw, err := json.Marshal(r.Meta[mcpcall.MetaWord])
	if err != nil {
		return Verdict{}, false
	}
	var w mcpcall.Word
	if json.Unmarshal(raw, &w) != nil || w.Verdict == "" {
		return Verdict{}, false
	}
	at, _ := time.Parse(time.RFC3339, w.FirstAt)
	return Verdict{
		Name: string(w.Verdict), Tool: w.Tool, RequestID: w.RequestID, State: w.State, FirstAt: at, MayHaveRun: w.MayRun, NextStep: string(w.NextStep),
		Reason: w.Reason, RetryAfter: time.Duration(w.RetryAfter) * time.Second, ChangedFields: w.ChangedFields, RepeatToken: w.RepeatToken,
	}, true
}
