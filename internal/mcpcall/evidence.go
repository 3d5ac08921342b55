package mcpcall

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// Kinds of evidence that the gate keeps with a receipt. All of it is written
// once for equal bodies, so writing it again is harmless.
const (
	kindDelivered onceguard.EvidenceKind = "mcp-delivered" // the answer was written to a client
	kindNext      onceguard.EvidenceKind = "mcp-next"      // the receipt of the answer to input_required
	kindRepeat    onceguard.EvidenceKind = "mcp-repeat"    // a person allowed one repeat
)

// Who wrote rows and evidence.
const (
	settledBy = "import:mcp"
	byGate    = "mcp"
	typeJSON  = "json"
)

// repeatFor is how long a person's leave to repeat a call is good, by the
// store's clock.
const repeatFor = time.Hour

// Levels of delivery.
const (
	written      = "written"
	acknowledged = "acknowledged"
)

type delivery struct {
	Level string `json:"level"`
	Turn  string `json:"turn,omitempty"`
}

// mark is a checkpoint of the gate's own: what it learned while the attempt ran.
type mark struct {
	Mark   string            `json:"mcp"` // awaiting, task, said
	State  string            `json:"state,omitempty"`
	Task   string            `json:"task,omitempty"`
	Handle json.RawMessage   `json:"handle,omitempty"`
	Says   string            `json:"says,omitempty"`
	Fields map[string]string `json:"fields,omitempty"` // pointer to keyed digest
	Values map[string]any    `json:"values,omitempty"` // where the policy shows them
}

// Marks.
const (
	markAwaiting = "awaiting"
	markTask     = "task"
	markSaid     = "said"
)

// notes is what the evidence of a receipt says about its present attempt.
type notes struct {
	delivered bool
	turns     map[string]bool
	awaiting  *mark
	task      *mark
	said      *mark
	next      []onceguard.Key
	grant     onceguard.Evidence // the latest; zero where there is none
}

// notes reads a receipt's evidence.
func (g *Gate) notes(ctx context.Context, guard *onceguard.Guard, rec onceguard.Record) (notes, error) {
	n := notes{turns: map[string]bool{}}
	if turn, ok := g.telling.Load(rec.ID); ok { // before the read: it may end meanwhile
		n.delivered, n.turns[turn.(string)] = true, true
	}
	list, err := guard.Store().Evidence(ctx, rec.ID)
	if err != nil {
		return n, err
	}
	for _, e := range list {
		switch e.Kind {
		case kindDelivered:
			var d delivery
			if json.Unmarshal(e.Body, &d) == nil {
				n.turns[d.Turn] = true
			}
			n.delivered = true
		case kindNext:
			if k, err := onceguard.ParseKey(string(e.Body)); err == nil {
				n.next = append(n.next, k)
			}
		case kindRepeat:
			n.grant = e
		case onceguard.EvidenceCheckpoint:
			if e.Attempt == rec.Attempt {
				n.take(e.Body)
			}
		}
	}
	return n, nil
}

func (n *notes) take(body []byte) {
	var m mark
	if json.Unmarshal(body, &m) != nil {
		return // a checkpoint of somebody else
	}
	switch m.Mark {
	case markAwaiting:
		n.awaiting = &m
	case markTask:
		n.task = &m
	case markSaid:
		n.said = &m
	}
}

// allowed reports whether a person's leave to repeat is there and fresh.
func (n notes) allowed(now time.Time) bool {
	return !n.grant.At.IsZero() && now.Sub(n.grant.At) <= repeatFor
}

// note appends evidence, again if the store does not answer clearly.
func (g *Gate) note(ctx context.Context, e onceguard.Evidence) error {
	return g.again(ctx, func() error { return g.guard.Store().AppendEvidence(context.WithoutCancel(ctx), e) })
}

// Delivered says that the reply was written to the client, whole and without an
// error. It returns when that is durable. Losing it is safe: a repeat of the
// call is then answered with the receipt, as a retry is.
func (g *Gate) Delivered(ctx context.Context, h Handle) error { return g.deliver(ctx, h, written) }

// Acknowledged says that the client whom the reply was written to has sent
// another request since, other than a repeat of the same call.
func (g *Gate) Acknowledged(ctx context.Context, h Handle) error {
	return g.deliver(ctx, h, acknowledged)
}

func (g *Gate) deliver(ctx context.Context, h Handle, level string) error {
	if h.id.IsZero() {
		return nil
	}
	return g.tell(h, level)(ctx)
}

// Delivering says that the reply is being written: from here on this process
// takes it for delivered, since a client may be faster with its next call than
// the store. The function that it returns is Delivered, and must be called once.
func (g *Gate) Delivering(h Handle) func(ctx context.Context) error {
	if h.id.IsZero() {
		return func(context.Context) error { return nil }
	}
	return g.tell(h, written)
}

func (g *Gate) tell(h Handle, level string) func(ctx context.Context) error {
	g.telling.Store(h.id, h.turn)
	return func(ctx context.Context) error {
		defer g.telling.Delete(h.id)
		return g.note(ctx, onceguard.Evidence{ID: h.id, Kind: kindDelivered, By: byGate, Detail: level, Body: compact(delivery{level, h.turn})})
	}
}

// maxFields bounds the fields of a call that are told apart.
const maxFields = 400

// saidMark describes a call's arguments so that a later one can be told which
// of them differ, and not what they were: digests are keyed, and values are kept
// only where the policy shows them.
func (g *Gate) saidMark(c *call) mark {
	m := mark{Mark: markSaid, Says: g.secret.hex("says", string(c.says)), Fields: map[string]string{}}
	doc, err := decode(c.says)
	if err != nil {
		return m
	}
	flatten("", doc, func(pointer, value string) {
		if len(m.Fields) < maxFields {
			m.Fields[pointer] = g.secret.hex("field", pointer, value)[:16]
		}
	})
	for _, p := range c.how.Identity.ShowValues {
		if v, ok := p.Find(doc); ok {
			if m.Values == nil {
				m.Values = map[string]any{}
			}
			m.Values[p.String()] = v
		}
	}
	if len(compact(m)) > onceguard.MaxEvidenceBody {
		return mark{Mark: markSaid, Says: m.Says}
	}
	return m
}

// flatten calls f with every value that is no object; arrays are one value.
func flatten(at string, v any, f func(pointer, value string)) {
	if obj, ok := v.(map[string]any); ok && (at == "" || len(obj) > 0) {
		for name, inner := range obj {
			flatten(at+"/"+strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1"), inner, f)
		}
		return
	}
	raw, err := json.Marshal(v)
	if err == nil {
		f(at, string(raw))
	}
}
