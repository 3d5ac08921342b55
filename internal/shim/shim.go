package shim

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrUnsupported says that the system cannot turn a process into another one.
var ErrUnsupported = errors.New("shim: this system has no execve")

// ErrGone says that the process ended before it could become the command, which
// surely did not start.
var ErrGone = errors.New("shim: the process that was to become the command has ended")

// verb is the first argument that asks for the shim. It is followed by the
// command line, for people who look at a process list.
const verb = "__become"

// Asked says whether a command line (without the program's name) asks for the
// shim. A person who types it gets an error: the pipes are missing.
func Asked(args []string) bool { return len(args) > 0 && args[0] == verb }

// order is what the parent sends: run this.
type order struct {
	Path string   `json:"path"`
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
}

// text keeps bytes that are no UTF-8, which argv and the environment may hold
// and JSON strings may not.
type rawOrder struct {
	Path []byte   `json:"path"`
	Argv [][]byte `json:"argv"`
	Env  [][]byte `json:"env"`
}

// maxOrder bounds a message; Linux bounds argv and environment far below it.
const maxOrder = 64 << 20

func (o order) write(w io.Writer) error {
	raw := rawOrder{Path: []byte(o.Path)}
	for _, s := range o.Argv {
		raw.Argv = append(raw.Argv, []byte(s))
	}
	for _, s := range o.Env {
		raw.Env = append(raw.Env, []byte(s))
	}
	body, err := json.Marshal(raw)
	if err != nil {
		return err
	}
	if len(body) > maxOrder {
		return fmt.Errorf("shim: command line and environment have %d bytes, at most %d can be passed", len(body), maxOrder)
	}
	message := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	_, err = w.Write(append(message, body...))
	return err
}

func readOrder(r io.Reader) (order, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return order{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxOrder {
		return order{}, fmt.Errorf("shim: a message of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return order{}, err
	}
	var raw rawOrder
	if err := json.Unmarshal(body, &raw); err != nil {
		return order{}, err
	}
	o := order{Path: string(raw.Path)}
	for _, s := range raw.Argv {
		o.Argv = append(o.Argv, string(s))
	}
	for _, s := range raw.Env {
		o.Env = append(o.Env, string(s))
	}
	return o, nil
}
