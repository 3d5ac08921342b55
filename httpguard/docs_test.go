package httpguard_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/onceguard/onceguard/httpguard"
)

var problemNames = []string{
	httpguard.ProblemKeyMissing, httpguard.ProblemKeyMalformed, httpguard.ProblemBodyUnreadable, httpguard.ProblemScopeDenied,
	httpguard.ProblemUnknownKey, httpguard.ProblemInProgress, httpguard.ProblemOutcomeUnknown, httpguard.ProblemAlreadyCompleted,
	httpguard.ProblemKeyExpired, httpguard.ProblemBodyTooLarge, httpguard.ProblemKeyReused, httpguard.ProblemMisconfigured,
	httpguard.ProblemStoreUnavailable, httpguard.ProblemStoreFrozen,
}

// TestProblemPages: each type has a page that names it, and each page a type.
func TestProblemPages(t *testing.T) {
	pages, err := filepath.Glob("../docs/problems/*.md")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile("../docs/problems/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if name == "README" {
			continue
		}
		found = append(found, name)
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "- Type: `"+httpguard.DefaultProblemBase+name+"`\n") {
			t.Errorf("%s does not give its type", page)
		}
		if !strings.Contains(string(index), "]("+name+".md)") {
			t.Errorf("the index leaves out %s", name)
		}
	}
	want := slices.Clone(problemNames)
	slices.Sort(want)
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("pages %q, problems %q", found, want)
	}
}

// TestConversationsShowEachProblem: nothing is documented that no wire shows,
// and every status on the wire is on its page.
func TestConversationsShowEachProblem(t *testing.T) {
	files, err := filepath.Glob("testdata/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("%q %v", files, err)
	}
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	notOnWires := []string{httpguard.ProblemBodyUnreadable, httpguard.ProblemMisconfigured} // other tests show them
	for _, name := range problemNames {
		if shown := strings.Contains(all.String(), `"`+httpguard.DefaultProblemBase+name+`"`); !shown && !slices.Contains(notOnWires, name) {
			t.Errorf("no conversation shows %s", name)
		}
	}
	doc, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if base := filepath.Base(f); !strings.Contains(string(doc), "testdata/"+base) {
			t.Errorf("docs/http.md does not show %s", base)
		}
	}
}

// TestOpenAPI: the fragment parses, every reference in it leads somewhere, and it
// lists exactly the problems and fields that there are.
func TestOpenAPI(t *testing.T) {
	text, err := os.ReadFile("../docs/openapi-idempotency.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.UnmarshalWithOptions(text, &doc, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi %v", doc["openapi"])
	}
	refs := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				refs++
				if at(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(doc)
	if refs == 0 {
		t.Error("no reference was checked")
	}
	var types []string
	for _, x := range at(doc, "components", "schemas", "IdempotencyProblem", "properties", "type", "enum").([]any) {
		types = append(types, strings.TrimPrefix(x.(string), httpguard.DefaultProblemBase))
	}
	want := slices.Clone(problemNames)
	slices.Sort(want)
	if !slices.Equal(types, want) {
		t.Errorf("types %q, want %q", types, want)
	}
	full, err := json.Marshal(httpguard.Problem{RequestID: "x", State: "x", Since: &time.Time{}, Attempt: 1, HandlerStatus: 1, Body: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(full, &fields); err != nil {
		t.Fatal(err)
	}
	described := at(doc, "components", "schemas", "IdempotencyProblem", "properties").(map[string]any)
	for name := range fields {
		if described[name] == nil {
			t.Errorf("the field %s is not described", name)
		}
	}
	if len(described) != len(fields) {
		t.Errorf("%d fields are described, a problem has %d", len(described), len(fields))
	}
}

func at(v any, path ...string) any {
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}
