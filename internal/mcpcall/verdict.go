package mcpcall

import (
	"encoding/json"
	"time"

	"github.com/onceguard/onceguard"
)

// Verdict names what the gate answered in place of the upstream.
type Verdict string

// The verdicts. Replayed, Awaiting and InProgress carry what the upstream once
// answered; Invalid is a JSON-RPC error; Refused carries the stored refusal where
// there is one. All others are tool results with isError.
const (
	Replayed   Verdict = "replayed"    // the recorded result; nothing ran
	InFlight   Verdict = "in-flight"   // the same call is running
	Uncertain  Verdict = "uncertain"   // may have happened; not run again
	Refused    Verdict = "refused"     // did not happen, recorded as refused
	Conflict   Verdict = "conflict"    // the call's key or id belongs to other arguments
	Drift      Verdict = "drift"       // the business key was used with other arguments
	Repeat     Verdict = "repeat"      // happened and was answered already: a repeat needs a token or a person
	NoResult   Verdict = "no-result"   // happened; the result is not kept
	Expired    Verdict = "expired"     // the key is older than the memory
	NotRun     Verdict = "not-run"     // nothing ran: call again
	Frozen     Verdict = "frozen"      // nothing ran: the store may have forgotten
	Unsettled  Verdict = "unsettled"   // ran; the outcome is not stored yet
	Invalid    Verdict = "invalid"     // the params cannot be read unambiguously
	InProgress Verdict = "in-progress" // a task of this call is running: its handle again
	Awaiting   Verdict = "awaiting"    // the upstream waits for input: its question again
)

// NextStep tells a program what the text tells a model.
type NextStep string

// The next steps.
const (
	StepNone       NextStep = "none"                  // the answer is there
	StepWait       NextStep = "wait-then-same-call"   // collect the result later
	StepSameCall   NextStep = "same-call"             // nothing ran
	StepPerson     NextStep = "ask-a-person"          // do not call again
	StepNewCall    NextStep = "new-call"              // this one's name is taken
	StepMend       NextStep = "mend-the-call"         // something in it was wrong
	StepToken      NextStep = "repeat-token-if-meant" // only where the user wants it twice
	StepStopRepeat NextStep = "do-not-repeat"         // it is done
)

// Word is what a verdict says to programs, as structuredContent and under
// MetaWord in _meta.
type Word struct {
	Verdict   Verdict  `json:"verdict"`
	Tool      string   `json:"tool,omitempty"`
	RequestID string   `json:"request_id,omitempty"`
	State     string   `json:"state,omitempty"`
	FirstAt   string   `json:"first_at,omitempty"` // RFC 3339, store clock
	MayRun    bool     `json:"may_have_run"`       // the effect may have happened, by this call or an earlier one
	NextStep  NextStep `json:"next_step"`
	Reason    string   `json:"reason,omitempty"`

	RetryAfter int `json:"retry_after_seconds,omitempty"`
	// Drift: which arguments differ, as JSON pointers, and the earlier values
	// that the policy shows.
	ChangedFields []string       `json:"changed_fields,omitempty"`
	EarlierValues map[string]any `json:"earlier_values,omitempty"`

	RepeatToken    string `json:"repeat_token,omitempty"`
	RepeatArgument string `json:"repeat_argument,omitempty"`
	AllowCommand   string `json:"allow_command,omitempty"`

	DefinitionChanged bool `json:"definition_changed,omitempty"`
}

func (g *Gate) word(v Verdict, c *call, rec onceguard.Record, mayRun bool, step NextStep) Word {
	w := wordOfRecord(rec)
	w.Verdict, w.Tool, w.MayRun, w.NextStep = v, c.tool, mayRun, step
	w.DefinitionChanged = g.seen.changedTool(c.tool)
	return w
}

func wordOfRecord(rec onceguard.Record) Word {
	w := Word{Verdict: Replayed, MayRun: rec.State.MayHaveRun(), NextStep: StepNone, FirstAt: when(rec.Since)}
	if !rec.ID.IsZero() {
		w.RequestID = rec.ID.String()
	}
	if rec.State != onceguard.Absent {
		w.State = rec.State.String()
	}
	return w
}

func wordOf(r onceguard.Receipt[[]byte]) Word {
	return wordOfRecord(onceguard.Record{ID: r.RequestID, State: r.State, Since: r.SettledAt})
}

// when is a time of the store's clock for people and programs.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// say makes the tool result of a verdict: text for the model, structuredContent
// where the tool declares no output schema (clients validate it against that),
// and _meta. more is content of an earlier or the upstream's own result.
func (g *Gate) say(c *call, w Word, text string, more json.RawMessage) Reply {
	content := []json.RawMessage{compact(textContent{"text", text})}
	if list, _, ok := elements(more); ok {
		for _, e := range list {
			content = append(content, json.RawMessage(more[e.from:e.to]))
		}
	}
	r := result{Content: content, IsError: true, Meta: map[string]Word{MetaWord: w}}
	if c.modern {
		r.Type = "complete"
	}
	if !g.seen.hasOutput(c.tool) {
		r.Structured = &w
	}
	return Reply{Result: compact(r), Verdict: w.Verdict}
}

type textContent struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type result struct {
	Type       string            `json:"resultType,omitempty"`
	Content    []json.RawMessage `json:"content"`
	Structured *Word             `json:"structuredContent,omitempty"`
	IsError    bool              `json:"isError"`
	Meta       map[string]Word   `json:"_meta"`
}

// noted puts a word into a result's _meta and leaves every other byte alone.
func (g *Gate) noted(raw json.RawMessage, c *call, w Word) json.RawMessage {
	w.Tool, w.DefinitionChanged = c.tool, g.seen.changedTool(c.tool)
	if string(field(raw, "_meta")) == "null" {
		raw, _ = put(raw, []string{"_meta"}, nil)
	}
	out, ok := put(raw, []string{"_meta", MetaWord}, compact(w))
	if !ok {
		return raw
	}
	return out
}
