package mcpwire

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
)

// IDKey is a raw id as a map's key: equal for ids that mean the same, and never
// for others, however large the number. A peer may write an id back in other
// letters: "a" as "\u0061", 1 as 1.0.
func IDKey(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if s, ok := Text(raw); ok {
		return "s" + s
	}
	text := string(raw)
	if !strings.ContainsAny(text, ".eE") {
		if text == "-0" {
			text = "0"
		}
		return "n" + text
	}
	if len(text) > 64 || !json.Valid(raw) {
		return "x" + text
	}
	if _, exp, ok := strings.Cut(strings.ToLower(text), "e"); ok && len(strings.TrimLeft(exp, "+-0")) > 2 {
		return "x" + text // its digits would not fit anywhere
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return "x" + text
	}
	if r.IsInt() {
		return "n" + r.Num().String()
	}
	return "n" + r.String()
}

// Quote is a text as a JSON string, with no needless escapes.
func Quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // strings can always be encoded
	return bytes.TrimRight(b.Bytes(), "\n")
}
