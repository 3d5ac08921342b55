package cli

import (
	"fmt"
	"strings"
)

// manCmd is `onceguard man`: man(7) macros, from the same model that parses the
// command line.
type manCmd struct{}

// Help is shown below the flags.
func (manCmd) Help() string {
	return `Example:

  onceguard man > /usr/local/share/man/man1/onceguard.1
  onceguard man | man -l -`
}

// Run is the command.
func (c *manCmd) Run(a *app) error { return a.print("%s", manual(commandDocs(a.model), a.model.Help)) }

// roff escapes text: backslashes, hyphens (so that flags can be copied), and a
// first character that would make the line a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "…", `\&...`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func manual(docs []commandDoc, about string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.TH ONCEGUARD 1 "" "onceguard %s" "User Commands"`, roff(programVersion()))
	line(".SH NAME\nonceguard \\- run irreversible actions at most once")
	line(".SH SYNOPSIS\n.B onceguard\n.I command\n.RI [ flags ]\n.br\n.B onceguard run \\-\\-action\n.I NAME\n.B \\-\\-key\n.I KEY\n.RI [ flags ]\n.B \\-\\-\n.I command\n.RI [ argument ...]")
	line(".SH DESCRIPTION\n%s", roff(strings.ReplaceAll(about, "`", "")))
	line(".PP\nAn effect is started at most once per request ID, unless its policy says how it may safely be started again. When the truth is not known, onceguard says so in place of guessing.")
	line(".SH GLOBAL FLAGS")
	for _, f := range docs[0].flags {
		manFlag(&b, f)
	}
	line(".SH COMMANDS")
	for _, d := range docs[1:] {
		line(".SS onceguard %s", roff(strings.Join(append([]string{d.name()}, d.args...), " ")))
		line("%s", roff(d.help))
		for _, f := range d.flags {
			if !f.global {
				manFlag(&b, f)
			}
		}
		manDetail(&b, d.detail)
	}
	line(".SH EXIT STATUS\n.B onceguard run\nexits with the command's own status, of this run or as recorded; 128 + n for signal n. Its own conditions:")
	for _, e := range exitTable {
		line(".TP\n.B %d\n%s", e.status, roff(e.meaning))
	}
	line(".SH ENVIRONMENT")
	for _, e := range environmentTable {
		line(".TP\n.B %s\n%s", e.name, roff(e.meaning))
	}
	line(".SH FILES\n.TP\n.I $XDG_STATE_HOME/onceguard/receipts.db\nThe default store; without XDG_STATE_HOME in ~/.local/state.")
	return b.String()
}

func manFlag(b *strings.Builder, f flagDoc) {
	fmt.Fprintf(b, ".TP\n")
	head := `\fB\-\-` + roff(f.name) + `\fR`
	if f.short != 0 {
		head = `\fB\-` + string(f.short) + `\fR, ` + head
	}
	if f.placeholder != "" {
		head += ` \fI` + roff(f.placeholder) + `\fR`
	}
	text := f.help
	if f.defaults != "" {
		text += " Default: " + f.defaults + "."
	}
	if f.required {
		text += " Required."
	}
	fmt.Fprintf(b, "%s\n%s\n", head, roff(text))
}

// manDetail sets indented lines, which are examples, as they are.
func manDetail(b *strings.Builder, detail string) {
	example := false
	for l := range strings.SplitSeq(detail, "\n") {
		indented := strings.HasPrefix(l, "  ")
		switch {
		case indented && !example:
			b.WriteString(".PP\n.RS 4\n.nf\n")
		case !indented && example && l != "":
			b.WriteString(".fi\n.RE\n")
		}
		if l != "" {
			example = indented
		}
		switch {
		case l == "":
			if !example {
				b.WriteString(".PP\n")
			}
		default:
			b.WriteString(roff(strings.TrimSpace(l)) + "\n")
		}
	}
	if example {
		b.WriteString(".fi\n.RE\n")
	}
}

// exitTable is the one list of exit statuses; the manual page prints it and a
// test compares docs/cli.md with it.
var exitTable = []struct {
	status  int
	meaning string
}{
	{exitFailed, "A refusal without a stored exit status; doctor found problems; lookups failed."},
	{exitUsage, "Bad flags or input. Nothing was run or changed."},
	{exitMismatch, "The key belongs to another command line or input; a decision came too late; an import differs. Nothing was run by this call."},
	{exitUnavailable, "The store, or what it needs, is not available. Nothing was run."},
	{exitInProgress, "Another call runs. Ask again with the same key."},
	{exitUncertain, "The effect may or may not have happened. It is not run again until that is settled."},
	{exitNoResult, "The outcome is known and has no result to replay; the key has expired; or the store is frozen."},
	{exitCannotStart, "The command could not be started. Nothing was run."},
	{exitNotFound, "The command was not found. Nothing was run."},
}

var environmentTable = []struct{ name, meaning string }{
	{envStore, "The store's URL, where --store is not given. In the command's environment a URL with a password is replaced, so that a nested onceguard does not silently use another store."},
	{envKeyFile, "The file of the key encryption key, where --key-file is not given."},
	{envSpool, "The spool directory, where run --spool is not given."},
	{"NO_COLOR", "Set: no colours."},
	{"ONCEGUARD_REQUEST_ID, ONCEGUARD_SCOPE, ONCEGUARD_ACTION, ONCEGUARD_KEY", "Set for the guarded command and for lookups: the request. A raw key is its own text; named parts are in the encoded form."},
	{"ONCEGUARD_DOWNSTREAM_KEY", "Set for the same: the idempotency key for the provider, the same on every attempt."},
	{"ONCEGUARD_ATTEMPT", "Set for the same: the number of the attempt. Never part of an idempotency key."},
	{envAncestors, "Set for the guarded command: the request IDs of the enclosing runs, separated by colons. A run of one of them is refused."},
}
