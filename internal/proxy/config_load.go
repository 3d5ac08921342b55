package proxy

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

// maxConfig bounds the configuration file, in bytes.
const maxConfig = 1 << 20

// Load reads and checks a configuration file. Its errors name the file, the
// line where there is one, and what to write instead.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	if info.Size() > maxConfig {
		return nil, fmt.Errorf("%s has %d bytes; a configuration has at most %d", path, info.Size(), maxConfig)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse is Load for the text of a configuration.
func Parse(data []byte) (*Config, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %s", yaml.FormatError(err, false, false))
	}
	if len(file.Docs) == 0 || len(file.Docs) == 1 && file.Docs[0].Body == nil {
		return nil, errors.New("it is empty; a configuration has `upstreams:` in it")
	}
	if len(file.Docs) > 1 {
		return nil, fmt.Errorf("%d YAML documents; a configuration is one, with `upstreams:` in it", len(file.Docs))
	}
	if err := checkKeys(file.Docs[0].Body, reflect.TypeFor[Config](), ""); err != nil {
		return nil, err
	}
	c := &Config{}
	if err := yaml.UnmarshalWithOptions(data, c, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("not a configuration: %s", yaml.FormatError(err, false, false))
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// checkKeys finds keys that the configuration does not have, to say which ones
// it has at that place. Whatever it does not look into, the strict decoder does.
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
		return fmt.Errorf("line %d: unknown key %.60q %s; allowed there: %s", token.Position.Line, token.Value, where, strings.Join(keysOf(t), ", "))
	}
	return checkKeys(n.Value, f.Type, strings.TrimPrefix(place+"."+token.Value, "."))
}

// keysOf lists the keys of a part of the configuration.
func keysOf(t reflect.Type) (keys []string) {
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
		if f.Tag.Get("yaml") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}
