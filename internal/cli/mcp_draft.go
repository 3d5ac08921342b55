package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// launchers start servers that are named by their first argument.
var launchers = map[string]bool{
	"npx": true, "npm": true, "bunx": true, "bun": true, "pnpm": true, "yarn": true, "uvx": true, "uv": true, "pipx": true, "node": true, "deno": true,
	"python": true, "python3": true, "docker": true, "podman": true, "sh": true, "bash": true, "env": true,
}

// serverName makes a name from where a server is: readable, and another for
// every command line and URL, since two servers must not share receipts.
func serverName(command []string, upstream string) string {
	text := upstream
	if upstream == "" && len(command) > 0 {
		text = path.Base(filepath.ToSlash(command[0]))
		if launchers[text] {
			for _, arg := range command[1:] {
				if arg != "" && arg[0] != '-' && arg != "run" && arg != "exec" && arg != "dlx" && arg != "tool" {
					text = path.Base(filepath.ToSlash(arg))
					break
				}
			}
		}
	}
	text, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(text, "https://"), "http://"), "@")
	word := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
	word = strings.Trim(word, "-")
	if len(word) > 30 {
		word = strings.Trim(word[:30], "-")
	}
	if word == "" {
		word = "server"
	}
	sum := sha256.Sum256([]byte(strings.Join(append([]string{upstream}, command...), "\x00")))
	return word + "-" + hex.EncodeToString(sum[:4])
}

// hint tells once, when the server has listed its tools, which of them pass, and
// leaves a draft of a policy file where there is none.
func (c *mcpProxyCmd) hint(a *app, policy *mcppolicy.Policy, gate *mcpcall.Gate) func(json.RawMessage) {
	var once sync.Once
	return func(list json.RawMessage) {
		once.Do(func() {
			passing := gate.Passing()
			if len(passing) == 0 {
				a.say("mcp: every tool is guarded")
			} else {
				a.say("mcp: these tools say that they only read, and pass without the guard: %s; every other tool is guarded", plain(strings.Join(passing, ", ")))
			}
			if at, err := c.leaveDraft(a, policy.Server, list); err == nil {
				a.say("mcp: a draft of a policy file is %s; read it, then start with --config", plain(at))
			} else {
				a.say("mcp: `onceguard mcp init` drafts a policy file (none was left: %s)", plain(err.Error()))
			}
		})
	}
}

// leaveDraft writes a draft into the state directory, unless one is there.
func (c *mcpProxyCmd) leaveDraft(a *app, server string, list json.RawMessage) (string, error) {
	var page struct {
		Next string `json:"nextCursor"`
	}
	if err := json.Unmarshal(list, &page); err != nil || page.Next != "" {
		return "", errors.New("the server lists its tools in several pages")
	}
	dir, ok := a.env.stateDir()
	if !ok {
		return "", errors.New("there is no home directory")
	}
	at := filepath.Join(dir, "mcp", server+".yaml")
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	text, err := mcppolicy.Draft(server, mcppolicy.Answers{}, list)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return "", err
	}
	return at, writeNew(at, text, false)
}

// writeNew writes a file that must not exist, unless it may be replaced.
func writeNew(at, text string, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(at, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
