package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// fill sets every field to something that is not its zero value, so that a field
// which the archive forgets is found, also one that a later release adds.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2025, 1, 2, 3, 4, 5, 6000, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.String:
		v.SetString("text \u202e " + rand.Text())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(3)
	case reflect.Slice:
		v.SetBytes([]byte{0, 255, 1})
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(i + 1))
		}
	default:
		t.Fatalf("a field of type %s: teach the test and the archive", v.Type())
	}
}

func TestArchiveKeepsEveryField(t *testing.T) {
	var rec onceguard.Record
	fill(t, reflect.ValueOf(&rec).Elem())
	e := onceguard.Evidence{}
	fill(t, reflect.ValueOf(&e).Elem())
	e.ID = rec.ID
	var line bytes.Buffer
	if err := jsonLine(&line, archiveLine{Record: archived(rec, []onceguard.Evidence{e})}); err != nil {
		t.Fatal(err)
	}
	l, err := parseArchiveLine(line.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	got, evidence := l.Record.record()
	if diff := cmp.Diff(rec, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]onceguard.Evidence{e}, evidence); diff != "" {
		t.Error(diff)
	}
}

// Every single byte of an archive counts: whichever is changed or missing, the
// file is refused.
func TestArchiveRefusesDamage(t *testing.T) {
	ctx := context.Background()
	s := memstore.New(memstore.Options{})
	g, err := onceguard.New(ctx, s, onceguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	request := onceguard.Request{Action: "a", Key: onceguard.KeyOf("k", 1)}
	if _, err := onceguard.Do(ctx, g, request, func(context.Context, *onceguard.Attempt) (string, error) { return "x", nil }); err != nil {
		t.Fatal(err)
	}
	a := &app{ctx: ctx, stderr: &bytes.Buffer{}, globals: &globals{}}
	var file bytes.Buffer
	if _, err := a.backup(ctx, s, s, &file); err != nil {
		t.Fatal(err)
	}
	if _, err := checkArchive(ctx, bytes.NewReader(file.Bytes())); err != nil {
		t.Fatal(err)
	}
	for i := range file.Len() {
		changed := bytes.Clone(file.Bytes())
		changed[i] ^= 1
		if _, err := checkArchive(ctx, bytes.NewReader(changed)); err == nil {
			t.Errorf("byte %d (%q) was changed and nobody noticed", i, file.Bytes()[i])
		}
		if i == file.Len()-1 || i%5 != 0 {
			continue // without its last newline it is still whole
		}
		if _, err := checkArchive(ctx, bytes.NewReader(file.Bytes()[:i])); err == nil {
			t.Errorf("cut after %d bytes and nobody noticed", i)
		}
	}
}

func TestReadLine(t *testing.T) {
	r := newLineReader("a\n" + strings.Repeat("b", 100) + "\nc")
	for _, want := range []string{"a\n", strings.Repeat("b", 100) + "\n", "c"} {
		if line, err := readLine(r, 200); err != nil || string(line) != want {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
	}
	if _, err := readLine(newLineReader(strings.Repeat("b", 100)), 50); err == nil || !strings.Contains(err.Error(), "longer than 50 bytes") {
		t.Errorf("a long line: %v", err)
	}
}

// newLineReader has a buffer that is shorter than the lines.
func newLineReader(s string) *bufio.Reader { return bufio.NewReaderSize(strings.NewReader(s), 16) }
