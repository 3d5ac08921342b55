//go:build linux

package mcptest_test

import (
	"encoding/json"
	"regexp"
)

// metaWord is where the proxy says what it did, in a result's _meta.
const metaWord = "io.github.onceguard/receipt"

// word is what the proxy says to programs.
type word struct {
	Verdict     string `json:"verdict"`
	RepeatToken string `json:"repeat_token"`
	NextStep    string `json:"next_step"`
	MayRun      bool   `json:"may_have_run"`
}

// word returns what the proxy says about a reply; the zero word if it is the
// tool's own result as it was, at first or again.
func (r reply) word() word {
	var result struct {
		Structured word            `json:"structuredContent"`
		Meta       map[string]word `json:"_meta"`
	}
	_ = json.Unmarshal([]byte(r.result), &result) // other results have other shapes
	if w := result.Meta[metaWord]; w.Verdict != "" {
		return w
	}
	return result.Structured
}

// outcome is a reply in a word: "result" is the tool's own.
func (r reply) outcome() string {
	switch w := r.word(); {
	case r.lost:
		return "no answer"
	case w.Verdict != "":
		return w.Verdict
	case r.code != 0 || r.failed:
		return "error"
	}
	return "result"
}

// chances is what differs from run to run in what a model is told.
var chances = []struct {
	form *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`req_[a-z2-7]{52}`), "req_…"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "(time)"},
	{regexp.MustCompile(`(the further argument "onceguard_repeat": )"[^"]+"`), `$1"(token)"`},
}

// plain is a text without what differs from run to run.
func plain(text string) string {
	for _, c := range chances {
		text = c.form.ReplaceAllString(text, c.by)
	}
	return text
}
