// Package yamlfile reads YAML files that people write: strictly, with errors
// that name the line and say what may stand there.
package yamlfile

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxBytes bounds a file.
const maxBytes = 1 << 20

// Kind is what a file is, for errors: "configuration", which has "`upstreams:`"
// in it.
type Kind struct{ Name, Has string }

// Read returns the text of a file.
func (k Kind) Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the %s cannot be read: %w", k.Name, err)
	}
	if info.Size() > maxBytes {
		return nil, fmt.Errorf("%s has %d bytes; a %s has at most %d", path, info.Size(), k.Name, maxBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the %s cannot be read: %w", k.Name, err)
	}
	return data, nil
}

// Decode reads the one document of a text into a struct with yaml tags, and
// returns its tree. A key that the struct does not have is an error.
func (k Kind) Decode(data []byte, into any) (ast.Node, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %s", yaml.FormatError(err, false, false))
	}
	if len(file.Docs) == 0 || len(file.Docs) == 1 && file.Docs[0].Body == nil {
		return nil, fmt.Errorf("it is empty; a %s has %s in it", k.Name, k.Has)
	}
	if len(file.Docs) > 1 {
		return nil, fmt.Errorf("%d YAML documents; a %s is one, with %s in it", len(file.Docs), k.Name, k.Has)
	}
	body := file.Docs[0].Body
	if err := checkKeys(body, reflect.TypeOf(into).Elem(), ""); err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalWithOptions(data, into, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("not a %s: %s", k.Name, yaml.FormatError(err, false, false))
	}
	return body, nil
}

// checkKeys finds keys that the struct does not have, to say which ones it has
// at that place. Whatever it does not look into, the strict decoder does.
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
	f, ok := fieldOf(t, token.Value)
	if !ok {
		where := "at the top"
		if place != "" {
			where = "in " + place
		}
		return fmt.Errorf("line %d: unknown key %.60q %s; allowed there: %s", token.Position.Line, token.Value, where, strings.Join(Keys(t), ", "))
	}
	return checkKeys(n.Value, f.Type, strings.TrimPrefix(place+"."+token.Value, "."))
}

// Keys lists the keys of a struct, sorted.
func Keys(t reflect.Type) (keys []string) {
	for f := range t.Fields() {
		if k := f.Tag.Get("yaml"); k != "" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if key != "" && f.Tag.Get("yaml") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}
