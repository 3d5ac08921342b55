package mcppolicy

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds a policy file, in bytes.
const maxFile = 1 << 20

// Load reads and checks a policy file. Its errors name the file, the line where
// there is one, and what to write instead.
func Load(path string) (*Policy, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the policy file cannot be read: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes; a policy file has at most %d", path, info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the policy file cannot be read: %w", err)
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Parse is Load for the text of a policy.
func Parse(data []byte) (*Policy, error) {
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %s", yaml.FormatError(err, false, false))
	}
	if len(doc.Docs) != 1 || doc.Docs[0].Body == nil {
		return nil, errors.New("a policy file is one YAML document that begins with `version: 1`")
	}
	if err := checkKeys(doc.Docs[0].Body, reflect.TypeFor[file](), ""); err != nil {
		return nil, err
	}
	var f file
	if err := yaml.UnmarshalWithOptions(data, &f, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("not a policy: %s", yaml.FormatError(err, false, false))
	}
	return f.policy(lines(doc.Docs[0].Body))
}

// checkKeys finds keys that a policy does not have, to say which ones it has at
// that place. Whatever it does not look into, the strict decoder does.
func checkKeys(n ast.Node, t reflect.Type, place string) error {
	switch n := n.(type) {
	case *ast.SequenceNode:
		if t.Kind() != reflect.Slice {
			return nil
		}
		for i, v := range n.Values {
			if err := checkKeys(v, t.Elem(), fmt.Sprintf("%s[%d]", place, i)); err != nil {
				return err
			}
		}
	case *ast.MappingValueNode:
		return checkKey(n, t, place)
	case *ast.MappingNode:
		for _, v := range n.Values {
			if err := checkKey(v, t, place); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkKey(n *ast.MappingValueNode, t reflect.Type, place string) error {
	if t.Kind() != reflect.Struct {
		return nil
	}
	token := n.Key.GetToken()
	var keys []string
	for f := range t.Fields() {
		key := f.Tag.Get("yaml")
		if key == token.Value && key != "" {
			return checkKeys(n.Value, f.Type, strings.TrimPrefix(place+"."+key, "."))
		}
		keys = append(keys, key)
	}
	where := "at the top"
	if place != "" {
		where = "in " + place
	}
	slices.Sort(keys)
	return fmt.Errorf("line %d: unknown key %.60q %s; allowed there: %s", token.Position.Line, token.Value, where, strings.Join(keys, ", "))
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
