package mcpcall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// seen is what is known of the server's tool definitions. Without a policy file
// a tool passes if it said that it only reads when it was first seen, and says
// so still. The first definition of every tool is a row of its own in the store,
// insert-if-absent, and so is every other one: a server that learns to say
// "read-only" later is not believed, also not after a restart, in another
// process, or by way of a tool that vanished for a while.
type seen struct {
	mu    sync.RWMutex
	tools map[string]*seenTool
}

type seenTool struct {
	first  definition
	latest definition
	known  map[string]bool // pins of the rows
	output bool            // some definition has an outputSchema
	acts   bool            // some definition did not say that it only reads
	live   bool            // listed by the server in this process
	theirs bool            // the schema has an argument named like ours
	told   bool            // a change was logged
}

// definition is what a row keeps of one definition.
type definition struct {
	Tool     string `json:"tool"`
	Pin      string `json:"pin"`
	ReadOnly bool   `json:"read_only"`
	Output   bool   `json:"output"`
	First    bool   `json:"first,omitempty"`
}

// Pin is the pin of a raw tool definition, see mcppolicy.PinOf.
func Pin(tool json.RawMessage) (string, error) { return mcppolicy.PinOf(tool) }

// define reads a raw definition.
func define(tool json.RawMessage) (definition, error) {
	pin, err := Pin(tool)
	if err != nil {
		return definition{}, err
	}
	name, ok := text(field(tool, "name"))
	if !ok || name == "" {
		return definition{}, errors.New("a tool without a name")
	}
	output := field(tool, "outputSchema")
	return definition{
		Tool: name, Pin: pin,
		ReadOnly: string(field(tool, "annotations", "readOnlyHint")) == "true",
		Output:   output != nil && string(output) != "null",
	}, nil
}

// loadSeen reads the rows.
func (g *Gate) loadSeen(ctx context.Context) (*seen, error) {
	s := &seen{tools: map[string]*seenTool{}}
	f := onceguard.Filter{Scope: g.guard.Scope(), Action: g.actionOf(actionTool, ""), Limit: 1000, Results: true}
	for {
		page, err := g.guard.Store().List(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, rec := range page.Records {
			body, err := g.guard.OpenResult(ctx, rec)
			if err != nil {
				return nil, err
			}
			var d definition
			if err := json.Unmarshal(body, &d); err != nil {
				return nil, err
			}
			s.add(d)
		}
		if f.Cursor = page.Next; f.Cursor == "" {
			return s, nil
		}
	}
}

// add takes a row in.
func (s *seen) add(d definition) {
	t := s.tools[d.Tool]
	if t == nil {
		t = &seenTool{known: map[string]bool{}}
		s.tools[d.Tool] = t
	}
	t.known[d.Pin] = true
	t.output = t.output || d.Output
	t.acts = t.acts || !d.ReadOnly
	if d.First {
		t.first = d
	}
}

// learn takes a listed definition in, and stores what is new. Until it is
// stored nothing passes because of it.
func (g *Gate) learn(ctx context.Context, d definition, theirs bool) (*seenTool, error) {
	g.seen.mu.RLock()
	t := g.seen.tools[d.Tool]
	known := t != nil && t.known[d.Pin] && t.first.Pin != ""
	g.seen.mu.RUnlock()
	first := definition{}
	if !known {
		var err error
		if first, err = g.storeDefinition(ctx, d); err != nil {
			return nil, err
		}
	}
	g.seen.mu.Lock()
	defer g.seen.mu.Unlock()
	if !known {
		g.seen.add(d)
		g.seen.add(first)
	}
	t = g.seen.tools[d.Tool]
	t.latest, t.live, t.theirs = d, true, theirs
	return t, nil
}

// storeDefinition writes the rows of a definition and returns the first one.
func (g *Gate) storeDefinition(ctx context.Context, d definition) (definition, error) {
	named := d.Tool
	if onceguard.KeyOf("tool", named).Err() != nil || len(named) > 200 {
		sum := sha256.Sum256([]byte(named))
		named = "sha256-" + hex.EncodeToString(sum[:])
	}
	action, now := g.actionOf(actionTool, ""), time.Now().UTC()
	first := d
	first.First = true
	var rows []onceguard.Record
	for _, r := range []struct {
		key  onceguard.Key
		body definition
	}{{onceguard.KeyOf("tool", named), first}, {onceguard.KeyOf("tool", named, "pin", d.Pin), d}} {
		id, err := onceguard.NewRequestID(g.guard.Scope(), action, r.key)
		if err != nil {
			return d, err
		}
		sealed, err := g.guard.SealResult(ctx, id, typeJSON, compact(r.body))
		if err != nil {
			return d, err
		}
		rows = append(rows, onceguard.Record{
			ID: id, Scope: g.guard.Scope(), Action: action, Key: r.key.Encoded(), State: onceguard.Succeeded, CreatedAt: now, Since: now,
			SettledBy: settledBy, Result: sealed, ResultRetention: onceguard.Forever, IdentityRetention: onceguard.Forever,
		})
	}
	var answers []onceguard.Answer
	err := g.again(ctx, func() (err error) {
		answers, err = g.guard.Store().Import(context.WithoutCancel(ctx), rows)
		for _, a := range answers {
			err = errors.Join(err, a.Err)
		}
		return err
	})
	if err != nil || answers[0].Outcome == onceguard.Applied {
		return first, err
	}
	found, err := g.get(ctx, g.guard, rows[0].ID)
	if err != nil {
		return d, err
	}
	body, err := g.guard.OpenResult(ctx, found[0].Record)
	if err != nil {
		return d, err
	}
	err = json.Unmarshal(body, &first)
	return first, err
}

func (s *seen) read(tool string, f func(t *seenTool) bool) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.tools[tool]
	return t != nil && f(t)
}

func (s *seen) hasOutput(tool string) bool {
	return s.read(tool, func(t *seenTool) bool { return t.output })
}

func (s *seen) ownRepeat(tool string) bool {
	return s.read(tool, func(t *seenTool) bool { return t.theirs })
}

func (s *seen) upstreamHas(tool string) bool {
	return s.read(tool, func(t *seenTool) bool { return t.live })
}

func (s *seen) changedTool(tool string) bool {
	return s.read(tool, func(t *seenTool) bool { return t.told })
}

// passes reports whether calls of a tool go by without the guard.
func (g *Gate) passes(tool string) bool {
	how := g.policy.Tool(tool)
	if g.policy.File {
		if how.Guard {
			return false
		}
		// What the file lets pass passes. A tool that once said that it only
		// reads, and then did not, passes again when its new definition is pinned.
		return !g.seen.read(tool, func(t *seenTool) bool {
			return t.first.ReadOnly && t.acts && t.latest.Pin != how.Pin
		})
	}
	return !g.policy.Strict && g.seen.read(tool, func(t *seenTool) bool { return t.first.ReadOnly && !t.acts })
}
