package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// output is what the receipt of a command keeps. Its JSON is part of the stored
// format: names and meanings never change.
type output struct {
	Version  int    `json:"onceguard_run"` // 1; the first field, which marks the format
	ExitCode int    `json:"exit_code"`
	Stdout   []byte `json:"stdout,omitempty"` // base64
	Stderr   []byte `json:"stderr,omitempty"`
	// Left says why the streams are not here although they had bytes:
	// leftTooLong or leftDeclared.
	Left string `json:"left,omitempty"`
	// Open says that something the command had started still held its streams
	// when it ended: what that wrote later is not here.
	Open bool `json:"open,omitempty"`

	StdoutBytes  int64  `json:"stdout_bytes,omitempty"`
	StderrBytes  int64  `json:"stderr_bytes,omitempty"`
	StdoutSHA256 string `json:"stdout_sha256,omitempty"` // only with Left
	StderrSHA256 string `json:"stderr_sha256,omitempty"`
}

// Reasons for streams that are not kept.
const (
	leftTooLong  = "too-long" // over --max-output: a replay has no result
	leftDeclared = "declared" // --max-output 0: replays need no output
)

const outputMark = `{"onceguard_run":`

// runCodec stores an output as JSON. Any other body is the standard output of a
// success, as it is: what a person gave with `receipts resolve --result`, what
// another program's action stored.
type runCodec struct{}

// Name implements onceguard.Codec.
func (runCodec) Name() string { return "onceguard-run/1" }

// Encode implements onceguard.Codec.
func (runCodec) Encode(v any) ([]byte, error) {
	o, ok := v.(output)
	if !ok {
		return nil, fmt.Errorf("the codec of onceguard run encodes its output, not %T", v)
	}
	o.Version = 1
	return json.Marshal(o)
}

// Decode implements onceguard.Codec.
func (runCodec) Decode(data []byte, v any) error {
	p, ok := v.(*output)
	if !ok {
		return fmt.Errorf("the codec of onceguard run decodes into its output, not %T", v)
	}
	o, err := decodeOutput(data)
	*p = o
	return err
}

func decodeOutput(data []byte) (output, error) {
	if !bytes.HasPrefix(data, []byte(outputMark)) {
		return output{Version: 1, Stdout: bytes.Clone(data), StdoutBytes: int64(len(data))}, nil
	}
	var o output
	if err := json.Unmarshal(data, &o); err != nil {
		return output{}, fmt.Errorf("a stored command output that cannot be read: %w", err)
	}
	if o.Version != 1 {
		return output{}, fmt.Errorf("a stored command output of version %d; use a newer onceguard", o.Version)
	}
	return o, nil
}

// maxResult is the size of the stored form of that much output.
func maxResult(output int64) int { return int(output/3*4) + 4096 }

// plainOutput is the output of a lookup that said "happened".
func plainOutput(stdout []byte, limit int64) output {
	o := output{StdoutBytes: int64(len(stdout))}
	if int64(len(stdout)) > limit {
		o.Left, o.StdoutSHA256 = leftTooLong, digest(stdout)
		return o
	}
	o.Stdout = stdout
	return o
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
