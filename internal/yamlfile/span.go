package yamlfile

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// Span is a duration: 90s, 15m, 24h, 30d, forever.
type Span time.Duration

// UnmarshalYAML reads the scalar's text.
func (s *Span) UnmarshalYAML(text []byte) error {
	t := Scalar(text)
	if t == "forever" {
		*s = Span(onceguard.Forever)
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
	*s = Span(d)
	return nil
}

// Scalar is a YAML scalar's text without quotes around it.
func Scalar(text []byte) string {
	t := strings.TrimSpace(string(text))
	if len(t) >= 2 && (t[0] == '"' || t[0] == '\'') && t[len(t)-1] == t[0] {
		t = t[1 : len(t)-1]
	}
	return t
}
