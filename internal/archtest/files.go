package archtest

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// maxLines bounds a Go file. Most should be a third of that: one noun per file.
const maxLines = 500

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// checkLength returns what is wrong with the length of a Go file.
func checkLength(name string, text []byte) []string {
	if !strings.HasSuffix(name, ".go") || generated.Match(text) {
		return nil
	}
	if n := bytes.Count(text, []byte("\n")); n > maxLines {
		return []string{fmt.Sprintf("%s has %d lines, and the limit is %d: split it by nouns", name, n, maxLines)}
	}
	return nil
}

// machinePath finds paths that exist on one person's machine alone. The parts
// are joined here so that this file does not match itself.
var machinePath = regexp.MustCompile(`(?:^|[^\w.~$})\]-])(/(?:` + strings.Join([]string{"work", "root", "home", "Users"}, "|") + `)/[\w.-]+|[A-Z]:\\` + `Users\\\w+)`)

// checkPaths returns the machine paths in a file, with their lines. root, the
// directory of this checkout, is one wherever it lies.
func checkPaths(name string, text []byte, root string) []string {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil // not text
	}
	var wrong []string
	for i, line := range strings.Split(string(text), "\n") {
		found := ""
		if m := machinePath.FindStringSubmatch(line); m != nil {
			found = m[1]
		}
		if len(root) > len("/src") && strings.Contains(line, root) {
			found = root
		}
		if found != "" {
			wrong = append(wrong, fmt.Sprintf("%s:%d: %s is a path of one machine", name, i+1, found))
		}
	}
	return wrong
}
