package proxy

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/jsonpointer"
)

// document reads a JSON body in its canonical form, so that 1 and 1.0 are one
// value and numbers are exact; bodies that readers could take differently
// (duplicate names, lone surrogates) are refused.
func document(body []byte) (any, error) {
	canonical, err := onceguard.CanonicalJSON(body)
	if err != nil {
		return nil, errors.New("the body is not JSON that everyone reads alike (syntax, duplicate names, encoding), which this key is read from")
	}
	dec := json.NewDecoder(bytes.NewReader(canonical))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, errors.New("the body is not JSON, which this key is read from")
	}
	return doc, nil
}

// pointerValue returns the text of the scalar at p.
func pointerValue(doc any, text string) (string, error) {
	p, err := jsonpointer.Parse(text)
	if err != nil {
		return "", err
	}
	at, ok := p.Find(doc)
	if !ok || at == nil {
		return "", errNoPart
	}
	value, err := p.Scalar(doc)
	if err != nil {
		return "", errors.New("not a string, number or boolean")
	}
	return value, nil
}
