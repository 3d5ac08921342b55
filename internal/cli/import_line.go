package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
)

// importLine is one line of `receipts import`: work that was done before
// adoption. docs/cli.md describes it; unknown and repeated names are refused.
type importLine struct {
	Scope  string          `json:"scope"` // default: "default"
	Action string          `json:"action"`
	Key    json.RawMessage `json:"key"`     // text as given to run --key, or {"order":"A-1","try":2}
	RawKey string          `json:"raw_key"` // text that is never taken apart
	State  string          `json:"state"`   // succeeded or failed
	At     *time.Time      `json:"at"`      // when it was done; default now
	Reason string          `json:"reason"`

	// What the request meant. Without any of these every input matches.
	Argv     []string        `json:"argv"`      // of onceguard run
	Input    json.RawMessage `json:"input"`     // of onceguard run with argv, else of a Go action
	RawInput []byte          `json:"raw_input"` // base64; of callers that compare bytes

	// The result. At most one of: a command's exit code with its streams, a JSON
	// value, bytes.
	ExitCode     *int            `json:"exit_code"`
	Stdout       *string         `json:"stdout"`
	Stderr       *string         `json:"stderr"`
	StdoutBase64 []byte          `json:"stdout_base64"`
	StderrBase64 []byte          `json:"stderr_base64"`
	Result       json.RawMessage `json:"result"`
	ResultBase64 []byte          `json:"result_base64"`

	ResultRetention   *span `json:"result_retention"`   // default 30d
	IdentityRetention *span `json:"identity_retention"` // default 400d
}

func parseImportLine(line []byte) (importLine, error) {
	var in importLine
	if _, err := onceguard.CanonicalJSON(line); err != nil {
		return in, prefixless{err}
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return in, errors.New(importProblem(err))
	}
	return in, nil
}

// importProblem says in our words what encoding/json found.
func importProblem(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("%q is a JSON %s where a %s belongs", wrong.Field, wrong.Value, wrong.Type)
	}
	return plain(string(bytes.TrimPrefix([]byte(err.Error()), []byte("json: "))))
}

func (in importLine) key() (onceguard.Key, error) {
	if len(in.Key) == 0 || string(in.Key) == "null" {
		return keyFlags{raw: in.RawKey}.key(nil)
	}
	if in.RawKey != "" {
		return onceguard.Key{}, errors.New(`"key" and "raw_key" are both given`)
	}
	var text string
	if json.Unmarshal(in.Key, &text) == nil {
		return keyFlags{keys: []string{text}}.key(nil)
	}
	var parts map[string]any
	dec := json.NewDecoder(bytes.NewReader(in.Key))
	dec.UseNumber()
	if err := dec.Decode(&parts); err != nil {
		return onceguard.Key{}, errors.New(`"key" is text or an object of named parts, such as {"order":"A-1"}`)
	}
	var pairs []any
	for name, value := range parts {
		pairs = append(pairs, name, value)
	}
	key := onceguard.KeyOf(pairs...)
	return key, key.Err()
}

// request is what the fingerprint is computed from; ok is false where the line
// says nothing of the input.
func (in importLine) request(key onceguard.Key) (r onceguard.Request, ok bool, err error) {
	r = onceguard.Request{Action: in.Action, Key: key}
	hasInput := len(in.Input) > 0 && string(in.Input) != "null"
	switch {
	case in.RawInput != nil && (hasInput || in.Argv != nil):
		return r, false, errors.New(`"raw_input" stands alone, without "argv" and "input"`)
	case in.RawInput != nil:
		r.RawInput = in.RawInput
	case in.Argv != nil:
		var doc *document
		if hasInput {
			if doc, err = parseDocument(in.Input); err != nil {
				return r, false, fmt.Errorf(`"input": %w`, prefixless{err})
			}
		}
		if len(in.Argv) == 0 || in.Argv[0] == "" {
			return r, false, errors.New(`"argv" is empty`)
		}
		r.RawInput = meaning(in.Argv, doc)
	case hasInput:
		doc, err := parseDocument(in.Input)
		if err != nil {
			return r, false, fmt.Errorf(`"input": %w`, prefixless{err})
		}
		r.Input = doc.tree
	default:
		return r, false, nil
	}
	return r, true, nil
}

// body is the result as the action's codec would have written it.
func (in importLine) body() (typ string, body []byte, has bool, err error) {
	streams := in.ExitCode != nil || in.Stdout != nil || in.Stderr != nil || in.StdoutBase64 != nil || in.StderrBase64 != nil
	kinds := 0
	for _, given := range []bool{streams, len(in.Result) > 0, in.ResultBase64 != nil} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return "", nil, false, errors.New(`give one result: "exit_code" with "stdout" and "stderr", or "result", or "result_base64"`)
	case in.Stdout != nil && in.StdoutBase64 != nil, in.Stderr != nil && in.StderrBase64 != nil:
		return "", nil, false, errors.New("a stream is given as text and as base64; give one")
	case len(in.Result) > 0:
		var compact bytes.Buffer
		if err := json.Compact(&compact, in.Result); err != nil {
			return "", nil, false, err
		}
		return "json imported", compact.Bytes(), true, nil
	case in.ResultBase64 != nil:
		return "raw imported", in.ResultBase64, true, nil
	case !streams:
		return "", nil, false, nil
	}
	o := output{Stdout: in.StdoutBase64, Stderr: in.StderrBase64}
	if in.Stdout != nil {
		o.Stdout = []byte(*in.Stdout)
	}
	if in.Stderr != nil {
		o.Stderr = []byte(*in.Stderr)
	}
	if in.ExitCode != nil {
		o.ExitCode = *in.ExitCode
	}
	if o.ExitCode < 0 || o.ExitCode > 255 {
		return "", nil, false, fmt.Errorf(`"exit_code" %d is not between 0 and 255`, o.ExitCode)
	}
	o.StdoutBytes, o.StderrBytes = int64(len(o.Stdout)), int64(len(o.Stderr))
	body, err = runCodec{}.Encode(o)
	return "onceguard-run/1 imported", body, true, err
}
