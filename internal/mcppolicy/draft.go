package mcppolicy

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Answers are what a person said about tools when a policy was drafted; a
// missing one leaves the careful default and a comment that asks.
type Answers struct {
	Pass    map[string]bool    // by tool; without an answer, what says that it only reads passes
	IsError map[string]IsError // by tool
	Repeat  map[string]Repeat  // by tool; without an answer, money where the name speaks of it
}

// Draft makes the text of a policy file out of the result of a tools/list, or
// several pages of it. What the server says about itself is written into
// comments in plain characters. The text loads, whatever the server says.
func Draft(server string, a Answers, lists ...json.RawMessage) (string, error) {
	if err := checkServer(server); err != nil {
		return "", err
	}
	tools, err := Survey(lists...)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# What onceguard does with the tools of this server. docs/mcp-policy.md explains
# every key. Drafted from the server's own list of tools: what it says about
# itself is a hint and no proof, so read it before you rely on it. A tool that
# is not named here is guarded. Look at each line that ends in a question mark.
#
# is_error says what an answer with isError means:
#   unknown       it may have happened, and a person must settle it
#   refused       it did not happen, and a retry gets the same refusal
#   not-executed  it did not happen, and may be tried again
#   success       it is a result like any other
# repeat says what becomes of a call that succeeded and comes once more:
#   ask     the model is told, and asked whether it is meant
#   money   it is told, and only a person can allow it
#   new     it runs
#   replay  it never runs, and gets the first result
version: 1
server: %s # part of every receipt's identity: never change it
`, server)
	if len(tools) == 0 {
		b.WriteString("tools: [] # the server listed none\n")
		return b.String(), nil
	}
	b.WriteString("tools:\n")
	for _, t := range tools {
		if strings.Contains(t.Name, "*") {
			fmt.Fprintf(&b, "  # %s has a '*' in its name and cannot be named here: it is guarded.\n", comment(t.Name))
			continue
		}
		t.write(&b, a)
	}
	if _, err := Parse([]byte(b.String())); err != nil {
		return "", fmt.Errorf("the draft would not load: %w", err)
	}
	return b.String(), nil
}

func (t Listed) write(b *strings.Builder, a Answers) {
	if t.Description != "" {
		fmt.Fprintf(b, "  # %s\n", comment(t.Description))
	}
	pass, answered := a.Pass[t.Name]
	switch {
	case answered:
	case t.ReadOnly:
		b.WriteString("  # It says that it only reads, so it passes without the guard.\n")
		pass = true
	case t.SoundsRead:
		b.WriteString("  # Its name sounds like reading, and it does not say so. If it only reads, leave\n  # name and pin, and write mode: pass. Does it?\n")
	}
	fmt.Fprintf(b, "  - name: %s\n", quote(t.Name))
	if pass {
		fmt.Fprintf(b, "    mode: pass\n    pin: %s\n", t.Pin)
		return
	}
	b.WriteString("    mode: guard\n")
	isError, said := a.IsError[t.Name]
	if !said {
		isError = IsErrorUnknown
	}
	fmt.Fprintf(b, "    is_error: %s%s\n", isError, unless(said))
	repeat, said := a.Repeat[t.Name]
	if !said {
		if repeat = RepeatAsk; t.SoundsMoney {
			repeat = RepeatMoney
		}
	}
	fmt.Fprintf(b, "    repeat: %s%s\n", repeat, unless(said))
	if len(t.Keys) > 0 {
		quoted := make([]string, len(t.Keys))
		for i, k := range t.Keys {
			quoted[i] = quote(k)
		}
		fmt.Fprintf(b, "    # identity: {key: [%s]} # does this say which effect is meant, whatever else the call says?\n", strings.Join(quoted, ", "))
	}
	fmt.Fprintf(b, "    pin: %s\n", t.Pin)
}

// unless marks a line that nobody has decided on.
func unless(said bool) string {
	if said {
		return ""
	}
	return " # is this right?"
}

// comment is text of the server on one line, in plain characters and short.
func comment(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= ' ' && r < 0x7f:
			return r
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		}
		return '?'
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 100 {
		s = s[:97] + "..."
	}
	return s
}

// quote is a YAML double-quoted scalar in ASCII.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r >= ' ' && r < 0x7f:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
