package mcppolicy

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/onceguard/onceguard/internal/yamlfile"
)

var policyFile = yamlfile.Kind{Name: "policy file", Has: "`version: 1`"}

// span is a duration of the file: 90s, 15m, 24h, 30d, forever.
type span = yamlfile.Span

// Load reads and checks a policy file. Its errors name the file, the line where
// there is one, and what to write instead.
func Load(path string) (*Policy, error) {
	data, err := policyFile.Read(path)
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Parse is Load for the text of a policy.
func Parse(data []byte) (*Policy, error) {
	var f file
	body, err := policyFile.Decode(data, &f)
	if err != nil {
		return nil, err
	}
	return f.policy(lines(body))
}

// lines are the lines on which the entries of tools begin.
func lines(n ast.Node) (at []int) {
	top, ok := n.(*ast.MappingNode)
	if !ok {
		return nil
	}
	for _, v := range top.Values {
		if v.Key.GetToken().Value != "tools" {
			continue
		}
		if list, ok := v.Value.(*ast.SequenceNode); ok {
			for _, e := range list.Values {
				at = append(at, e.GetToken().Position.Line)
			}
		}
	}
	return at
}
