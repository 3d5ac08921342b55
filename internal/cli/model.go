package cli

import (
	"strings"

	"github.com/alecthomas/kong"
)

// commandDoc is one command as completion and the manual page see it.
type commandDoc struct {
	path   []string // "receipts", "list"
	help   string
	detail string
	args   []string
	flags  []flagDoc
	sub    []string // names of the commands below
	subDoc map[string]string
}

type flagDoc struct {
	name        string
	short       rune
	aliases     []string
	help        string
	placeholder string // empty: a switch
	values      []string
	defaults    string
	files       bool
	required    bool
	global      bool
}

func (c commandDoc) name() string { return strings.Join(c.path, " ") }

// commandDocs lists all visible commands, parents before children, beginning
// with the program itself.
func commandDocs(app *kong.Application) []commandDoc {
	var out []commandDoc
	var walk func(n *kong.Node, path []string)
	walk = func(n *kong.Node, path []string) {
		d := commandDoc{path: path, help: n.Help, detail: n.Detail, subDoc: map[string]string{}}
		for _, p := range n.Positional {
			d.args = append(d.args, p.Summary())
		}
		for _, group := range n.AllFlags(true) {
			for _, f := range group {
				d.flags = append(d.flags, documentFlag(f))
			}
		}
		for _, child := range n.Children {
			if !child.Hidden {
				d.sub = append(d.sub, child.Name)
				d.subDoc[child.Name] = child.Help
			}
		}
		out = append(out, d)
		for _, child := range n.Children {
			if !child.Hidden {
				walk(child, append(append([]string{}, path...), child.Name))
			}
		}
	}
	walk(app.Node, nil)
	return out
}

func documentFlag(f *kong.Flag) flagDoc {
	d := flagDoc{name: f.Name, short: f.Short, aliases: f.Aliases, help: f.Help, defaults: f.Default, required: f.Required}
	d.global = f.Group != nil && f.Group.Key == "Global flags" || f.Name == "help"
	if !f.IsBool() {
		d.placeholder = strings.Trim(f.FormatPlaceHolder(), `"`)
		if f.PlaceHolder != "" {
			d.placeholder = f.PlaceHolder
		}
	}
	for _, v := range f.EnumSlice() {
		if v != "" {
			d.values = append(d.values, v)
		}
	}
	if f.Name == "state" {
		d.values = []string{"claimed", "released", "uncertain", "succeeded", "failed"}
	}
	for _, word := range []string{"FILE", "PATH", "DIR"} {
		d.files = d.files || strings.Contains(d.placeholder, word)
	}
	return d
}
