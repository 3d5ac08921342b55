package proxy

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
)

// plainKey reports the key that is the header Idempotency-Key and nothing else.
// It is read as the IETF draft says, and before the body is.
func plainKey(parts []KeyPart) bool {
	return len(parts) == 1 && parts[0].Name == "" && strings.EqualFold(parts[0].Header, httpguard.HeaderKey)
}

func keyOf(parts []KeyPart, values []string) onceguard.Key {
	var pairs []any
	for i, p := range parts {
		pairs = append(pairs, p.Name, values[i])
	}
	return onceguard.KeyOf(pairs...)
}

// errNoPart is a part that the request does not have; with one missing there is
// no key.
var errNoPart = errors.New("missing")

// keyReader builds keys from several parts.
type keyReader []KeyPart

// read returns the zero Key where a part is missing. Its errors name the part
// and never its value.
func (k keyReader) read(r *http.Request, body []byte) (onceguard.Key, error) {
	values := make([]string, len(k))
	var doc any
	var form url.Values
	for i, p := range k {
		var err error
		switch {
		case p.Header != "":
			values[i], err = oneOf(r.Header.Values(p.Header))
		case p.Path != "":
			values[i] = variablesOf(r.Context())[p.Path]
		case p.JSON != "":
			if doc == nil {
				if doc, err = document(body); err != nil {
					return onceguard.Key{}, err
				}
			}
			values[i], err = pointerValue(doc, p.JSON)
		case p.Form != "":
			if form == nil {
				if form, err = formOf(r, body); err != nil {
					return onceguard.Key{}, err
				}
			}
			values[i], err = oneOf(form[p.Form])
		}
		if errors.Is(err, errNoPart) || err == nil && values[i] == "" {
			return onceguard.Key{}, nil
		}
		if err != nil {
			return onceguard.Key{}, fmt.Errorf("its part %q is %w", p.Name, err)
		}
	}
	return keyOf(k, values), nil
}

func oneOf(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", errNoPart
	case 1:
		return values[0], nil
	}
	return "", errors.New("given more than once")
}

func formOf(r *http.Request, body []byte) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, errors.New("the body is not of type application/x-www-form-urlencoded, which this key is read from")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the body is not a well-formed form, which this key is read from")
	}
	return form, nil
}

type variablesKey struct{}

// withVariables keeps the values of a route's path variables.
func withVariables(ctx context.Context, v map[string]string) context.Context {
	return context.WithValue(ctx, variablesKey{}, v)
}

func variablesOf(ctx context.Context) map[string]string {
	v, _ := ctx.Value(variablesKey{}).(map[string]string)
	return v
}
