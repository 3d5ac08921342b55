package onceguard

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateVectors = flag.Bool("update", false, "write the outputs in testdata/vectors anew, from this implementation; inputs and refusals stay")

type vectorPart struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// vector is one case of any of the files; each uses the fields it needs.
type vector struct {
	Name     string        `json:"name"`
	Input    *string       `json:"input,omitempty"`
	InputHex *string       `json:"input_hex,omitempty"`
	Scope    *string       `json:"scope,omitempty"`
	Action   *string       `json:"action,omitempty"`
	Parts    *[]vectorPart `json:"parts,omitempty"`
	Raw      *string       `json:"raw,omitempty"`
	RawHex   *string       `json:"raw_hex,omitempty"`
	Slot     *string       `json:"slot,omitempty"`
	Kind     string        `json:"kind,omitempty"`
	Document *string       `json:"document,omitempty"`
	Bytes    *string       `json:"bytes,omitempty"`
	BytesHex *string       `json:"bytes_hex,omitempty"`
	Refused  string        `json:"refused,omitempty"`

	// Outputs.
	Canonical   string `json:"canonical,omitempty"`
	Encoded     string `json:"encoded,omitempty"`
	IssuedAtMS  int64  `json:"issued_at_ms,omitempty"`
	RequestID   string `json:"request_id,omitempty"`
	SlotKey     string `json:"slot_key,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

type vectorFile struct {
	About     string   `json:"about"`
	Version   int      `json:"version,omitempty"`
	KeyID     string   `json:"key_id,omitempty"`
	SecretHex string   `json:"secret_hex,omitempty"`
	Cases     []vector `json:"cases"`
}

// runVectors checks each case of a file: compute fills the outputs of a case
// whose outputs were cleared, or returns the refusal.
func runVectors(t *testing.T, name string, compute func(f *vectorFile, v *vector) error, refusal func(error) string) {
	t.Helper()
	path := filepath.Join("testdata", "vectors", name)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(file.Cases) == 0 {
		t.Fatalf("%s holds no cases", path)
	}
	seen := make(map[string]bool)
	for i := range file.Cases {
		want := &file.Cases[i]
		t.Run(want.Name, func(t *testing.T) {
			if seen[want.Name] {
				t.Error("two cases have this name")
			}
			seen[want.Name] = true
			got := *want
			got.Canonical, got.Encoded, got.IssuedAtMS, got.RequestID, got.SlotKey, got.Fingerprint = "", "", 0, "", "", ""
			err := compute(&file, &got)
			if (err != nil) != (want.Refused != "") {
				t.Fatalf("error %v, refused %q", err, want.Refused)
			}
			if err != nil && !strings.Contains(refusal(err), want.Refused) {
				t.Errorf("refused with %q, want %q", refusal(err), want.Refused)
			}
			if *updateVectors {
				*want = got
			} else if diff := cmp.Diff(*want, got); diff != "" {
				t.Errorf("differs from the vector (-vector +computed):\n%s", diff)
			}
		})
	}
	if *updateVectors && !t.Failed() {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, asciiJSON(out.Bytes()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// asciiJSON escapes everything beyond ASCII: bidirectional and combining
// characters would make the files unreadable, and editors normalise them.
func asciiJSON(text []byte) []byte { return []byte(escapeBeyondASCII(string(text))) }

func escapeBeyondASCII(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r < 0x10000:
			b.WriteString(`\u` + hex.EncodeToString([]byte{byte(r >> 8), byte(r)}))
		default:
			hi, lo := 0xD800+(r-0x10000)>>10, 0xDC00+(r-0x10000)&0x3ff
			b.WriteString(`\u` + hex.EncodeToString([]byte{byte(hi >> 8), byte(hi)}) + `\u` + hex.EncodeToString([]byte{byte(lo >> 8), byte(lo)}))
		}
	}
	return b.String()
}

// textOrHex returns the bytes given as text, or else as hexadecimal.
func textOrHex(t *testing.T, text, hexed *string) []byte {
	t.Helper()
	if text != nil {
		return []byte(*text)
	}
	if hexed == nil {
		t.Fatal("case without an input")
	}
	b, err := hex.DecodeString(*hexed)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testUUID is a [16]byte with the usual text, as UUID packages define it.
type testUUID [16]byte

func (u testUUID) MarshalText() ([]byte, error) {
	h := hex.EncodeToString(u[:])
	return []byte(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]), nil
}

func vectorKey(t *testing.T, v *vector) Key {
	t.Helper()
	if v.Parts == nil {
		return RawKey(string(textOrHex(t, v.Raw, v.RawHex)))
	}
	var args []any
	for _, p := range *v.Parts {
		args = append(args, p.Name)
		var err error
		var n int64
		var u uint64
		var yes bool
		switch p.Type {
		case "string":
			args = append(args, p.Value)
		case "int":
			n, err = strconv.ParseInt(p.Value, 10, 64)
			args = append(args, n)
		case "uint":
			u, err = strconv.ParseUint(p.Value, 10, 64)
			args = append(args, u)
		case "bool":
			yes, err = strconv.ParseBool(p.Value)
			args = append(args, yes)
		case "uuid":
			var id testUUID
			_, err = hex.Decode(id[:], []byte(strings.ReplaceAll(p.Value, "-", "")))
			args = append(args, id)
		default:
			t.Fatalf("unknown type %q", p.Type)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return KeyOf(args...)
}

func TestVectorsCanonical(t *testing.T) {
	runVectors(t, "canonical.json", func(f *vectorFile, v *vector) error {
		if f.Version != CanonicalVersion {
			t.Fatalf("vectors of version %d, code of version %d", f.Version, CanonicalVersion)
		}
		out, err := CanonicalJSON(textOrHex(t, v.Input, v.InputHex))
		v.Canonical = string(out)
		return err
	}, func(err error) string { return err.(*CanonicalError).Code })
}

func TestVectorsKeys(t *testing.T) {
	runVectors(t, "keys.json", func(_ *vectorFile, v *vector) error {
		k := vectorKey(t, v)
		v.Encoded = k.Encoded()
		if at, ok := k.IssuedAt(); ok {
			v.IssuedAtMS = at.UnixMilli()
		}
		return k.Err()
	}, error.Error)
}

func TestVectorsRequestIDs(t *testing.T) {
	runVectors(t, "requestids.json", func(_ *vectorFile, v *vector) error {
		k := vectorKey(t, v)
		id, err := NewRequestID(*v.Scope, *v.Action, k)
		if err != nil {
			return err
		}
		v.Encoded, v.RequestID = k.Encoded(), id.String()
		if v.Slot != nil {
			child := id.Slot(*v.Slot)
			v.SlotKey = child.Encoded()
			return child.Err()
		}
		return nil
	}, error.Error)
}

func TestVectorsFingerprints(t *testing.T) {
	runVectors(t, "fingerprints.json", func(f *vectorFile, v *vector) error {
		secret, err := hex.DecodeString(f.SecretHex)
		if err != nil {
			t.Fatal(err)
		}
		key, err := newFingerprintKey(f.KeyID, secret)
		if err != nil {
			t.Fatal(err)
		}
		var data []byte
		if v.Document != nil {
			if data, err = CanonicalJSON([]byte(*v.Document)); err != nil {
				return err
			}
		} else {
			data = textOrHex(t, v.Bytes, v.BytesHex)
		}
		v.Fingerprint = key.sum(fingerprintKind(v.Kind), data).String()
		return nil
	}, error.Error)
}

// TestVectorsElsewhere runs the verifiers in Python and Node, which share no
// code with this package and read the same files.
func TestVectorsElsewhere(t *testing.T) {
	for _, v := range []struct{ program, script string }{{"python3", "verify.py"}, {"node", "verify.mjs"}} {
		t.Run(v.program, func(t *testing.T) {
			path, err := exec.LookPath(v.program)
			if err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("%s is not installed; CI must check the vectors in it", v.program)
				}
				t.Skipf("%s is not installed: the vectors were not checked in it", v.program)
			}
			out, err := exec.CommandContext(t.Context(), path, filepath.Join("testdata", "vectors", v.script)).CombinedOutput()
			if err != nil {
				t.Fatalf("%s %s: %v\n%s", v.program, v.script, err, out)
			}
			t.Logf("%s", out)
		})
	}
}
