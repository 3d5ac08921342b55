package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// fenced are the blocks of a page: their language and their text.
var fenced = regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```")

// TestRecipes holds every block of the recipes to its language, and every command
// line in them to the command's own parser.
func TestRecipes(t *testing.T) {
	page, err := os.ReadFile("../../docs/mcp-recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	agent, err := os.ReadFile("../mcptest/testdata/agent/agent.mjs")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range fenced.FindAllStringSubmatch(string(page), -1) {
		language, text := m[1], m[2]
		seen[language]++
		var wrong error
		switch language {
		case "json":
			var v any
			wrong = json.Unmarshal([]byte(text), &v)
		case "toml":
			wrong = checkTOML(text)
		case "yaml":
			_, wrong = mcppolicy.Parse([]byte(text))
		case "js":
			if !strings.Contains(string(agent), text) {
				wrong = fmt.Errorf("agent.mjs, which the tests run, has no such lines")
			}
		case "python":
			wrong = checkPython(t, text)
		case "console", "go":
		default:
			wrong = fmt.Errorf("nothing checks blocks of %s", language)
		}
		if wrong != nil {
			t.Errorf("%v in\n%s", wrong, text)
		}
		for _, args := range guarded(t, text) {
			seen["lines"]++
			if err := parses(args); err != nil {
				t.Errorf("onceguard %s: %v", strings.Join(args, " "), err)
			}
		}
	}
	for language, least := range map[string]int{"json": 3, "toml": 1, "yaml": 1, "js": 3, "python": 2, "console": 3, "go": 2, "lines": 9} {
		if seen[language] < least {
			t.Errorf("%d blocks of %s were found, want %d or more", seen[language], language, least)
		}
	}
}

// The checks see what is wrong.
func TestRecipesChecks(t *testing.T) {
	if err := parses([]string{"mcp", "--configuration", "tools.yaml", "--", "server"}); err == nil {
		t.Error("a flag that there is not was parsed")
	}
	for _, text := range []string{"[a\nb = 1\n", "b = one\n", "b\n", "= 1\n"} {
		if checkTOML(text) == nil {
			t.Errorf("%q passed as TOML", text)
		}
	}
	if n := len(guarded(t, `"command": "onceguard", "args": ["mcp", "--", "x"]`)); n != 1 {
		t.Errorf("%d command lines were found, want 1", n)
	}
}

var (
	argsList = regexp.MustCompile(`"?args"?\s*[:=]\s*(\[[^\]]*\])`)
	oneTable = regexp.MustCompile(`^\[[A-Za-z0-9_.-]+\]$`)
	oneKey   = regexp.MustCompile(`^[A-Za-z0-9_-]+ = (.+)$`)
)

// guarded finds the command lines of onceguard in a block: lists of arguments,
// and what is typed.
func guarded(t *testing.T, text string) (lines [][]string) {
	t.Helper()
	for _, m := range argsList.FindAllStringSubmatch(text, -1) {
		var args []string
		if err := json.Unmarshal([]byte(m[1]), &args); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
		lines = append(lines, args)
	}
	for line := range strings.Lines(text) {
		if typed, ok := strings.CutPrefix(line, "$ "); ok {
			if _, args, ok := strings.Cut(" "+typed, " onceguard "); ok {
				lines = append(lines, strings.Fields(args))
			}
		}
	}
	return lines
}

// parses gives a command line to the parser of the command.
func parses(args []string) error {
	var out bytes.Buffer
	parser, _, err := newParser(&app{stdout: &out, stderr: &out})
	if err != nil {
		return err
	}
	_, err = parser.Parse(args)
	return err
}

// checkTOML takes tables and keys on one line, whose values are those that JSON
// and TOML write alike.
func checkTOML(text string) error {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || oneTable.MatchString(line) {
			continue
		}
		m := oneKey.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("%q is neither a table nor a key", line)
		}
		var v any
		if err := json.Unmarshal([]byte(m[1]), &v); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
	}
	return nil
}

// checkPython asks a Python, where there is one, for the syntax alone.
func checkPython(t *testing.T, text string) error {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("SKIPPED: there is no python3 to read the Python blocks")
		return nil
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", "import ast, sys; ast.parse(sys.stdin.read())")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("python3: %w: %s", err, out)
	}
	return nil
}
