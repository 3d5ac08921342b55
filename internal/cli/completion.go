package cli

import (
	"fmt"
	"sort"
	"strings"
)

// completionCmd is `onceguard completion`. The scripts are made from the same
// model that parses the command line, so they cannot lag behind it; they are
// static and never run onceguard while somebody types.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown below the flags.
func (completionCmd) Help() string {
	return `Example:

  onceguard completion bash > ~/.local/share/bash-completion/completions/onceguard
  onceguard completion zsh > "${fpath[1]}/_onceguard"
  onceguard completion fish > ~/.config/fish/completions/onceguard.fish`
}

// Run is the command.
func (c *completionCmd) Run(a *app) error {
	docs := commandDocs(a.model)
	switch c.Shell {
	case "bash":
		return a.print("%s", bashCompletion(docs))
	case "zsh":
		return a.print("%s", zshCompletion(docs))
	}
	return a.print("%s", fishCompletion(docs))
}

// words are the flags that complete for a command, with aliases.
func (c commandDoc) words() []string {
	var out []string
	for _, f := range c.flags {
		out = append(out, "--"+f.name)
		for _, alias := range f.aliases {
			out = append(out, "--"+alias)
		}
	}
	sort.Strings(out)
	return out
}

// known is the shell pattern of all command paths, for finding where one stands.
func known(docs []commandDoc) string {
	var paths []string
	for _, d := range docs {
		if len(d.path) > 0 {
			paths = append(paths, `"`+d.name()+`"`)
		}
	}
	return strings.Join(paths, "|")
}

func bashCompletion(docs []commandDoc) string {
	var b strings.Builder
	b.WriteString("# bash completion for onceguard; made by `onceguard completion bash`\n")
	b.WriteString("_onceguard() {\n\tlocal cur prev path='' word i\n\tcur=${COMP_WORDS[COMP_CWORD]}\n\tprev=${COMP_WORDS[COMP_CWORD-1]}\n\tCOMPREPLY=()\n")
	b.WriteString("\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tword=${COMP_WORDS[i]}\n")
	b.WriteString("\t\tif [[ $word == -- ]]; then\n\t\t\t# after -- comes another command: complete as for that\n\t\t\tif declare -F _command_offset >/dev/null; then _command_offset $((i + 1)); else compopt -o default; fi\n\t\t\treturn\n\t\tfi\n")
	fmt.Fprintf(&b, "\t\tcase \"${path:+$path }$word\" in\n\t\t%s) path=${path:+$path }$word ;;\n\t\tesac\n\tdone\n", known(docs))
	b.WriteString("\tcase \"$path $prev\" in\n")
	for _, d := range docs {
		for _, f := range d.flags {
			if f.placeholder == "" {
				continue
			}
			action := "return"
			switch {
			case len(f.values) > 0:
				action = fmt.Sprintf("mapfile -t COMPREPLY < <(compgen -W %q -- \"$cur\"); return", strings.Join(f.values, " "))
			case f.files:
				action = "compopt -o default; return"
			}
			fmt.Fprintf(&b, "\t%q) %s ;;\n", d.name()+" --"+f.name, action)
		}
	}
	b.WriteString("\tesac\n\tcase \"$path\" in\n")
	for _, d := range docs {
		fmt.Fprintf(&b, "\t%q)\n", d.name())
		fmt.Fprintf(&b, "\t\tif [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W %q -- \"$cur\")\n", strings.Join(d.words(), " "))
		switch {
		case d.name() == "completion":
			b.WriteString("\t\telse mapfile -t COMPREPLY < <(compgen -W \"bash zsh fish\" -- \"$cur\")\n")
		case len(d.sub) > 0:
			fmt.Fprintf(&b, "\t\telse mapfile -t COMPREPLY < <(compgen -W %q -- \"$cur\")\n", strings.Join(d.sub, " "))
		default:
			b.WriteString("\t\telse compopt -o default\n")
		}
		b.WriteString("\t\tfi ;;\n")
	}
	b.WriteString("\tesac\n}\ncomplete -F _onceguard onceguard\n")
	return b.String()
}

// zshText is text inside single quotes of a zsh spec, where ':' and ']' end
// fields.
func zshText(s string) string {
	s = strings.NewReplacer(`\`, `\\`, ":", `\:`, "[", `\[`, "]", `\]`, "\n", " ", "`", "").Replace(s)
	return strings.ReplaceAll(s, "'", `'\''`)
}

func zshCompletion(docs []commandDoc) string {
	var b strings.Builder
	b.WriteString("#compdef onceguard\n# zsh completion for onceguard; made by `onceguard completion zsh`\n\n")
	for _, d := range docs {
		fmt.Fprintf(&b, "%s() {\n\tlocal -a flags\n\tflags=(\n", zshFunction(d.path))
		for _, f := range d.flags {
			value := ""
			switch {
			case len(f.values) > 0:
				value = fmt.Sprintf(":%s:(%s)", zshText(strings.ToLower(f.name)), strings.Join(f.values, " "))
			case f.files:
				value = ":file:_files"
			case f.placeholder != "":
				value = fmt.Sprintf(":%s: ", zshText(strings.ToLower(f.name)))
			}
			equals := ""
			if f.placeholder != "" {
				equals = "="
			}
			for _, name := range append([]string{f.name}, f.aliases...) {
				fmt.Fprintf(&b, "\t\t'*--%s%s[%s]%s'\n", name, equals, zshText(f.help), value)
			}
		}
		b.WriteString("\t)\n")
		switch {
		case len(d.sub) > 0:
			b.WriteString("\tlocal -a commands\n\tcommands=(\n")
			for _, name := range d.sub {
				fmt.Fprintf(&b, "\t\t'%s:%s'\n", name, zshText(d.subDoc[name]))
			}
			b.WriteString("\t)\n\tlocal state line\n\t_arguments -C $flags '1: :->command' '*:: :->rest'\n\tcase $state in\n\tcommand) _describe command commands ;;\n\trest)\n\t\tcase $line[1] in\n")
			for _, name := range d.sub {
				fmt.Fprintf(&b, "\t\t%s) %s ;;\n", name, zshFunction(append(append([]string{}, d.path...), name)))
			}
			b.WriteString("\t\tesac ;;\n\tesac\n")
		case d.name() == "completion":
			b.WriteString("\t_arguments $flags '1:shell:(bash zsh fish)'\n")
		case strings.Contains(strings.Join(d.args, " "), "command"):
			b.WriteString("\t_arguments -S $flags '*:: :_normal'\n")
		default:
			b.WriteString("\t_arguments $flags '*:file:_files'\n")
		}
		b.WriteString("}\n\n")
	}
	b.WriteString("if [[ $funcstack[1] == _onceguard ]]; then\n\t_onceguard \"$@\"\nelse\n\tcompdef _onceguard onceguard\nfi\n")
	return b.String()
}

func zshFunction(path []string) string {
	return strings.ReplaceAll(strings.Join(append([]string{"_onceguard"}, path...), "_"), "-", "_")
}

// fishText is text inside single quotes.
func fishText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", " ").Replace(s)
}

func fishCompletion(docs []commandDoc) string {
	var b strings.Builder
	b.WriteString("# fish completion for onceguard; made by `onceguard completion fish`\n")
	b.WriteString("function __onceguard_at\n\tset -l words (commandline -opc)\n\tset -l path\n\tfor word in $words[2..-1]\n\t\ttest \"$word\" = --; and return 1\n\t\tset -l next (string trim -- \"$path $word\")\n\t\tcontains -- \"$next\" ")
	var quoted []string
	for _, d := range docs[1:] {
		quoted = append(quoted, "'"+d.name()+"'")
	}
	b.WriteString(strings.Join(quoted, " ") + "; and set path $next\n\tend\n\ttest \"$path\" = \"$argv[1]\"\nend\n")
	for _, d := range docs {
		at := fmt.Sprintf("__onceguard_at '%s'", d.name())
		for _, name := range d.sub {
			fmt.Fprintf(&b, "complete -c onceguard -f -n \"%s\" -a '%s' -d '%s'\n", at, name, fishText(d.subDoc[name]))
		}
		if d.name() == "completion" {
			fmt.Fprintf(&b, "complete -c onceguard -f -n \"%s\" -a 'bash zsh fish'\n", at)
		}
		for _, f := range d.flags {
			value := ""
			switch {
			case len(f.values) > 0:
				value = fmt.Sprintf(" -x -a '%s'", strings.Join(f.values, " "))
			case f.files:
				value = " -r -F"
			case f.placeholder != "":
				value = " -x"
			}
			for _, name := range append([]string{f.name}, f.aliases...) {
				fmt.Fprintf(&b, "complete -c onceguard -n \"%s\" -l '%s'%s -d '%s'\n", at, name, value, fishText(f.help))
			}
		}
	}
	return b.String()
}
