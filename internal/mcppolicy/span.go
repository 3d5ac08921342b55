package mcppolicy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// span is a duration of the file: 90s, 15m, 24h, 30d, forever.
type span time.Duration

// UnmarshalYAML reads the scalar's text.
func (s *span) UnmarshalYAML(text []byte) error {
	t := strings.TrimSpace(string(text))
	if len(t) >= 2 && (t[0] == '"' || t[0] == '\'') && t[len(t)-1] == t[0] {
		t = t[1 : len(t)-1]
	}
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
