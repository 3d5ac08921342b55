package process

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The text form is OS/VERSION;boot=…;ns=…;pid=…;start=…;host=…, fields always
// in this order, values possibly empty. A list is joined by commas.
const (
	textVersion = "1"
	maxText     = 512 // bytes of one identity
	maxList     = 64  // identities of one list
)

var fieldNames = [...]string{"boot", "ns", "pid", "start", "host"}

// MarshalText returns the form that is stored with a claim. It is an error if i
// names no process, or has a value that the form cannot carry.
func (i Identity) MarshalText() ([]byte, error) {
	if i.OS == "" || i.PID <= 0 {
		return nil, errors.New("process: an identity without system or pid cannot be stored")
	}
	values := [...]string{i.Boot, i.PIDNamespace, strconv.Itoa(i.PID), i.Start, i.Host}
	var b strings.Builder
	b.WriteString(i.OS + "/" + textVersion)
	for n, name := range fieldNames {
		b.WriteString(";" + name + "=" + values[n])
	}
	// Reading it back refuses what would not come out again the same.
	var back Identity
	if err := back.UnmarshalText([]byte(b.String())); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

// UnmarshalText reads the form that MarshalText writes, and nothing else. After
// an error i is unchanged; the process it meant is Unknown.
func (i *Identity) UnmarshalText(text []byte) error {
	if len(text) > maxText {
		return fmt.Errorf("process: an identity of %d bytes, want at most %d", len(text), maxText)
	}
	head, rest, _ := strings.Cut(string(text), ";")
	system, version, _ := strings.Cut(head, "/")
	if version != textVersion {
		return fmt.Errorf("process: identity starts with %q, want a system and version %s, as in linux/%s", head, textVersion, textVersion)
	}
	parts := strings.Split(rest, ";")
	if len(parts) != len(fieldNames) {
		return fmt.Errorf("process: identity has %d fields, want %d", len(parts), len(fieldNames))
	}
	var values [len(fieldNames)]string
	for n, part := range parts {
		name, value, ok := strings.Cut(part, "=")
		if !ok || name != fieldNames[n] {
			return fmt.Errorf("process: field %d of an identity is %q, want %s=", n+1, part, fieldNames[n])
		}
		values[n] = value
	}
	for _, value := range append(values[:], system) {
		if strings.ContainsFunc(value, notPlain) {
			return fmt.Errorf("process: %q in an identity: want letters, digits and ._:/- alone", value)
		}
	}
	pid, err := strconv.Atoi(values[2])
	if err != nil || pid <= 0 || strconv.Itoa(pid) != values[2] || system == "" {
		return fmt.Errorf("process: identity of system %q, pid %q names no process", system, values[2])
	}
	*i = Identity{OS: system, Boot: values[0], PIDNamespace: values[1], PID: pid, Start: values[3], Host: values[4]}
	return nil
}

func notPlain(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:/-", r)
}

// FormatList returns the text form of several processes: the owners of one
// claim. It is "" for none.
func FormatList(ids []Identity) (string, error) {
	if len(ids) > maxList {
		return "", fmt.Errorf("process: %d identities, want at most %d", len(ids), maxList)
	}
	texts := make([]string, len(ids))
	for n, id := range ids {
		text, err := id.MarshalText()
		if err != nil {
			return "", err
		}
		texts[n] = string(text)
	}
	return strings.Join(texts, ","), nil
}

// ParseList reads the form that FormatList writes. After an error nothing is
// known about the owners.
func ParseList(text string) ([]Identity, error) {
	if text == "" {
		return nil, nil
	}
	if n := strings.Count(text, ",") + 1; n > maxList {
		return nil, fmt.Errorf("process: %d identities, want at most %d", n, maxList)
	}
	var ids []Identity
	for part := range strings.SplitSeq(text, ",") {
		var id Identity
		if err := id.UnmarshalText([]byte(part)); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
