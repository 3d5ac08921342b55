package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The stored form never changes: a later release must replay today's receipts.
func TestOutputForm(t *testing.T) {
	o := output{ExitCode: 3, Stdout: []byte{0, 255}, Stderr: []byte("e"), StdoutBytes: 2, StderrBytes: 1, Open: true}
	const want = `{"onceguard_run":1,"exit_code":3,"stdout":"AP8=","stderr":"ZQ==","open":true,"stdout_bytes":2,"stderr_bytes":1}`
	body, err := runCodec{}.Encode(o)
	if err != nil || string(body) != want {
		t.Fatalf("encoded as %s, %v; want %s", body, err, want)
	}
	var back output
	if err := (runCodec{}).Decode(body, &back); err != nil {
		t.Fatal(err)
	}
	o.Version = 1
	if diff := cmp.Diff(o, back); diff != "" {
		t.Error(diff)
	}
}

func TestForeignBodiesAreOutput(t *testing.T) {
	for _, body := range []string{"", "plain", `{"refund":1}`, "\x00\xff", `{"onceguard_runner":1}`} {
		var o output
		if err := (runCodec{}).Decode([]byte(body), &o); err != nil || string(o.Stdout) != body || o.ExitCode != 0 {
			t.Errorf("%q: got %+v, %v", body, o, err)
		}
	}
	for body, want := range map[string]string{`{"onceguard_run":2}`: "use a newer onceguard", `{"onceguard_run":1,`: "cannot be read"} {
		var o output
		if err := (runCodec{}).Decode([]byte(body), &o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to say %q", body, err, want)
		}
	}
}

// The stored form of as much output as is allowed fits the limit that the guard
// is given.
func TestMaxResult(t *testing.T) {
	for _, n := range []int64{0, 1, 2, 3, 100, 1 << 20} {
		body, err := runCodec{}.Encode(output{ExitCode: 255, Stdout: bytes.Repeat([]byte{1}, int(n/2)), Stderr: bytes.Repeat([]byte{1}, int(n-n/2)), StdoutBytes: n, StderrBytes: n, Open: true})
		if err != nil || len(body) > maxResult(n) {
			t.Errorf("%d bytes of output are stored as %d, the limit is %d (%v)", n, len(body), maxResult(n), err)
		}
	}
}
