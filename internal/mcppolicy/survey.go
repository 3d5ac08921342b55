package mcppolicy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onceguard/onceguard"
)

// Listed is what a tools/list says of one tool, and what its name suggests. All
// of it is the server's own word.
type Listed struct {
	Name        string
	Description string
	Pin         string
	ReadOnly    bool // annotations.readOnlyHint is true in the raw JSON
	SoundsRead  bool // its name begins like a reading one
	SoundsMoney bool // its name speaks of money or of orders
	// Keys are arguments that look like a business key, as JSON pointers.
	Keys []string
}

// PinOf is the pin of a raw tool definition: sha256: and the hexadecimal SHA-256
// of its canonical form, so that spelling does not count.
func PinOf(tool json.RawMessage) (string, error) {
	canonical, err := onceguard.CanonicalJSON(tool)
	if err != nil {
		return "", err
	}
	d := sha256.Sum256(canonical)
	return "sha256:" + hex.EncodeToString(d[:]), nil
}

// Survey reads the result of a tools/list, or several pages of it.
func Survey(lists ...json.RawMessage) (out []Listed, err error) {
	seen := map[string]bool{}
	for _, list := range lists {
		var page struct {
			Tools []json.RawMessage `json:"tools"`
		}
		if err := json.Unmarshal(list, &page); err != nil {
			return nil, fmt.Errorf("the list of tools cannot be read: %w", err)
		}
		for i, raw := range page.Tools {
			l, err := listed(raw)
			if err != nil {
				return nil, fmt.Errorf("tool %d of the list: %w", i, err)
			}
			if seen[l.Name] {
				return nil, fmt.Errorf("two tools are named %q", l.Name)
			}
			seen[l.Name] = true
			out = append(out, l)
		}
	}
	return out, nil
}

func listed(raw json.RawMessage) (l Listed, err error) {
	if l.Pin, err = PinOf(raw); err != nil {
		return l, err
	}
	var t struct {
		Name        string `json:"name"`
		Title       string `json:"title"`
		Description string `json:"description"`
		Annotations struct {
			ReadOnly json.RawMessage `json:"readOnlyHint"`
		} `json:"annotations"`
		Input struct {
			Properties map[string]struct {
				Type json.RawMessage `json:"type"`
			} `json:"properties"`
		} `json:"inputSchema"`
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return l, err
	}
	if t.Name == "" {
		return l, errors.New("it has no name")
	}
	l.Name, l.Description = t.Name, t.Description
	if l.Description == "" {
		l.Description = t.Title
	}
	l.ReadOnly = string(t.Annotations.ReadOnly) == "true"
	words := wordsOf(t.Name)
	l.SoundsRead = len(words) > 0 && slices.Contains([]string{"get", "list", "read", "search", "find", "query", "describe", "show", "fetch", "view", "count", "status"}, words[0])
	for _, w := range words {
		l.SoundsMoney = l.SoundsMoney || slices.Contains([]string{"pay", "payment", "payout", "refund", "transfer", "charge", "purchase", "buy", "order", "invoice", "book", "withdraw", "wire"}, w)
	}
	for name, p := range t.Input.Properties {
		if kind := string(p.Type); kind != `"string"` && kind != `"integer"` {
			continue
		}
		w := wordsOf(name)
		if last := w[len(w)-1]; slices.Contains([]string{"id", "key", "reference", "ref", "number", "uuid"}, last) && !strings.ContainsAny(name, "~/") {
			l.Keys = append(l.Keys, "/"+name)
		}
	}
	slices.Sort(l.Keys)
	return l, nil
}

// wordsOf splits a name at case and signs, in lower case: sendMail_to is send,
// mail, to. It is never empty.
func wordsOf(name string) (words []string) {
	word := ""
	lower := false
	for _, r := range name {
		upper := 'A' <= r && r <= 'Z'
		letter := upper || 'a' <= r && r <= 'z' || '0' <= r && r <= '9'
		if !letter || upper && lower {
			if word != "" {
				words = append(words, word)
			}
			word = ""
		}
		if letter {
			word += strings.ToLower(string(r))
		}
		lower = letter && !upper
	}
	return append(words, word)
}
