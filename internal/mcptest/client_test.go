//go:build linux

package mcptest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// Lines that the client adds to the server's frames.
type clientLine struct {
	Client string          `json:"client,omitempty"` // "" in every frame
	Pid    int             `json:"pid,omitempty"`
	ID     json.RawMessage `json:"id,omitempty"`
	Why    string          `json:"why,omitempty"`
}

const (
	saysStarted  = "started"   // with the pid of what it started
	saysNoAnswer = "no answer" // over HTTP: the connection broke, or the status was no success
	doHangUp     = "hang up"   // a line to the client: close the connection of the request with this id
)

// beClient passes frames from its standard input to a server and back, one a
// line, over either transport. Killing it is what killing a host is: pipes and
// connections end wherever they were.
func beClient(how string, args []string) error {
	if how == "http" {
		return beHTTPClient(args[0])
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	say(clientLine{Client: saysStarted, Pid: cmd.Process.Pid})
	go func() {
		_, _ = io.Copy(in, os.Stdin)
		_ = in.Close()
	}()
	_, _ = io.Copy(os.Stdout, out)
	return cmd.Wait()
}

var saying sync.Mutex

func say(l clientLine) {
	data, err := json.Marshal(l)
	if err != nil {
		panic(err) // it has nothing that cannot be encoded
	}
	sayFrame(data)
}

func sayFrame(frame []byte) {
	saying.Lock()
	defer saying.Unlock()
	_, _ = os.Stdout.Write(append(bytes.TrimSpace(frame), '\n'))
}

// beHTTPClient posts each line. A connection is used once, so that net/http has
// none to repeat a request on.
func beHTTPClient(url string) error {
	say(clientLine{Client: saysStarted, Pid: os.Getpid()})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var mu sync.Mutex
	var posts sync.WaitGroup
	running := map[string]context.CancelFunc{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		frame := bytes.Clone(lines.Bytes())
		var l clientLine
		_ = json.Unmarshal(frame, &l) // a batch has no id of its own
		mu.Lock()
		if l.Client == doHangUp {
			running[string(l.ID)]()
			mu.Unlock()
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		running[string(l.ID)] = cancel
		mu.Unlock()
		posts.Go(func() {
			defer cancel()
			if err := post(ctx, client, url, frame); err != nil {
				say(clientLine{Client: saysNoAnswer, ID: l.ID, Why: err.Error()})
			}
		})
	}
	posts.Wait()
	return lines.Err()
}

// post sends one frame and says every frame that comes for it.
func post(ctx context.Context, client *http.Client, url string, frame []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(frame))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	mirror(req.Header, frame)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return events(resp.Body)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) > 0 && json.Valid(body) {
		sayFrame(body)
		return nil
	}
	if resp.StatusCode >= 300 || bytes.Contains(frame, []byte(`"id"`)) && bytes.Contains(frame, []byte(`"method"`)) {
		return fmt.Errorf("status %s and no frame: %.200s", resp.Status, body)
	}
	return nil
}

// mirror sets the headers that the revision 2026-07-28 wants to see again.
func mirror(h http.Header, frame []byte) {
	var f struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
			Meta struct {
				Version string `json:"io.modelcontextprotocol/protocolVersion"`
			} `json:"_meta"`
		} `json:"params"`
	}
	if json.Unmarshal(frame, &f) != nil || f.Params.Meta.Version == "" {
		return
	}
	h.Set("MCP-Protocol-Version", f.Params.Meta.Version)
	h.Set("Mcp-Method", f.Method)
	if f.Params.Name != "" {
		h.Set("Mcp-Name", f.Params.Name)
	}
}

// events says the frames of a stream. A stream that ended without the response
// is a broken one.
func events(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	answered := false
	for lines.Scan() {
		if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:")); ok && len(bytes.TrimSpace(data)) > 0 {
			sayFrame(bytes.Clone(data))
			answered = answered || !bytes.Contains(data, []byte(`"method"`))
		}
	}
	if err := lines.Err(); err != nil || answered {
		return err
	}
	return io.ErrUnexpectedEOF
}
