package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// span is a duration of the configuration: 90s, 15m, 24h, 30d, forever.
type span time.Duration

// UnmarshalYAML reads the scalar's text.
func (s *span) UnmarshalYAML(text []byte) error {
	t := scalar(text)
	if t == "forever" {
		*s = span(onceguard.Forever)
		return nil
	}
	d, err := time.ParseDuration(t)
	if days, ok := strings.CutSuffix(t, "d"); ok && err != nil {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("%.40q is not a duration above zero; write 90s, 15m, 24h, 30d", t)
	}
	*s = span(d)
	return nil
}

// size is a number of bytes: 4096, 64KiB, 1MiB.
type size int64

// UnmarshalYAML reads the scalar's text.
func (b *size) UnmarshalYAML(text []byte) error {
	t, unit := scalar(text), int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(t, suffix); ok {
			t, unit = rest, u
		}
	}
	n, err := strconv.ParseUint(t, 10, 30)
	if err != nil || n == 0 || int64(n) > maxSize/unit {
		return fmt.Errorf("%.40q is not a size from 1 byte to 64MiB; write bytes, or a number with KiB or MiB", scalar(text))
	}
	*b = size(int64(n) * unit)
	return nil
}

// maxSize bounds what one request may keep in memory.
const maxSize = 64 << 20

// scalar is a YAML scalar's text without quotes around it.
func scalar(text []byte) string {
	t := strings.TrimSpace(string(text))
	if len(t) >= 2 && (t[0] == '"' || t[0] == '\'') && t[len(t)-1] == t[0] {
		t = t[1 : len(t)-1]
	}
	return t
}
