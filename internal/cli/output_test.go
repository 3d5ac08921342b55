package cli

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"order 17, größer": "order 17, größer",
		"a\x1b[2Jb":        `a\x1b[2Jb`,
		"a\nb\tc":          `a\nb\tc`,
		"\u202egnp.exe":    `\u202egnp.exe`,
		"\xff\xfe":         `\xff\xfe`,
		"\u0085\u200b":     `\u0085\u200b`,
		"":                 "",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1500 * time.Millisecond: "1s", 90 * time.Second: "1m30s", 3*time.Hour + 5*time.Minute + time.Second: "3h5m", 50 * time.Hour: "2d2h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
}

// A line that people copy reaches a shell as the words that were meant.
func FuzzQuoteArg(f *testing.F) {
	for _, s := range []string{"", "a", "a b", "it's", "$(x)", "`x`", "a\nb", "-n", "\\", "!x", "~", "*"} {
		f.Add(s)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Skip("no sh here")
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			t.Skip("no argument holds NUL")
		}
		out, err := exec.Command(sh, "-c", "printf %s. "+quoteArg(s)).Output()
		if err != nil || string(out) != s+"." {
			t.Errorf("%q quoted as %s arrives as %q, %v", s, quoteArg(s), out, err)
		}
	})
}
