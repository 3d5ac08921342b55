package proxy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/onceguard/onceguard/internal/yamlfile"
)

// span is a duration of the configuration: 90s, 15m, 24h, 30d, forever.
type span = yamlfile.Span

// size is a number of bytes: 4096, 64KiB, 1MiB.
type size int64

// UnmarshalYAML reads the scalar's text.
func (b *size) UnmarshalYAML(text []byte) error {
	t, unit := yamlfile.Scalar(text), int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(t, suffix); ok {
			t, unit = rest, u
		}
	}
	n, err := strconv.ParseUint(t, 10, 30)
	if err != nil || n == 0 || int64(n) > maxSize/unit {
		return fmt.Errorf("%.40q is not a size from 1 byte to 64MiB; write bytes, or a number with KiB or MiB", yamlfile.Scalar(text))
	}
	*b = size(int64(n) * unit)
	return nil
}

// maxSize bounds what one request may keep in memory.
const maxSize = 64 << 20
