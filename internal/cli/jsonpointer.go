package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/jsonpointer"
)

// document is a JSON input: the bytes as they came, the canonical form, and the
// tree that pointers walk, numbers kept as their exact text.
type document struct {
	raw       []byte
	canonical []byte
	tree      any
}

func parseDocument(raw []byte) (*document, error) {
	canonical, err := onceguard.CanonicalJSON(raw)
	if err != nil {
		return nil, err
	}
	d := &document{raw: raw, canonical: canonical}
	dec := json.NewDecoder(bytes.NewReader(canonical))
	dec.UseNumber()
	if err := dec.Decode(&d.tree); err != nil {
		return nil, err
	}
	return d, nil
}

// pointer walks an RFC 6901 pointer and returns the scalar's text: strings as
// they are, numbers in the canonical exact form, so that 1 and 1.0 are one.
func (d *document) pointer(text string) (string, error) {
	p, err := jsonpointer.Parse(text)
	if err != nil {
		return "", err
	}
	value, err := p.Scalar(d.tree)
	if err != nil {
		return "", fmt.Errorf("the input: %w", err)
	}
	return value, nil
}
