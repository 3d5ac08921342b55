package archtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestModule applies every rule to the module.
func TestModule(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	pkgs, err := loadPackages(root)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.ImportPath == module && len(p.Deps) > 0 }) {
		t.Fatal("go list did not show the root package: no rule was applied")
	}
	files, err := trackedFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(files, "go.mod") {
		t.Fatal("go.mod is not among the files: no rule was applied")
	}
	wrong := append(checkArrows(pkgs), checkNames(pkgs)...)
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not yet committed
		}
		if err != nil {
			t.Error(err)
			continue
		}
		wrong = append(wrong, checkLength(name, text)...)
		wrong = append(wrong, checkPaths(name, text, root)...)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}
