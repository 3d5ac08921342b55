package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// span is a duration flag that also takes days, as in 30d, and forever.
type span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *span) UnmarshalText(text []byte) error {
	t := string(text)
	if t == "forever" {
		*s = span(onceguard.Forever)
		return nil
	}
	d, err := time.ParseDuration(t)
	if days, ok := strings.CutSuffix(t, "d"); ok && err != nil {
		n, derr := strconv.ParseUint(days, 10, 16)
		if derr == nil {
			d, err = time.Duration(n)*24*time.Hour, nil
		}
	}
	if err != nil {
		return fmt.Errorf("%q is not a duration; write 90s, 15m, 24h, 30d", t)
	}
	if d < 0 {
		return fmt.Errorf("%q is negative; write 90s, 15m, 24h, 30d", t)
	}
	*s = span(d)
	return nil
}

// forever says whether the span has no end, which not every flag allows.
func (s span) forever() bool { return time.Duration(s) == onceguard.Forever }

// byteSize is a size flag: 4096, 64KiB, 1MiB.
type byteSize int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *byteSize) UnmarshalText(text []byte) error {
	t, unit := string(text), int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(t, suffix); ok {
			t, unit = rest, u
			break
		}
	}
	n, err := strconv.ParseUint(t, 10, 40)
	if err != nil {
		return fmt.Errorf("%q is not a size; write bytes, or a number with KiB or MiB", string(text))
	}
	*b = byteSize(int64(n) * unit)
	return nil
}
