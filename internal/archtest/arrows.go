package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

const module = "github.com/onceguard/onceguard"

// pkg is what the rules need to know of a package: its import path and what it
// imports, by itself and in its tests.
type pkg struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string // everything below it, tests left out
}

// stores are the concrete stores. Test suites may use the one in memory, which
// is the reference for the others.
var stores = []string{"memstore", "sqlitestore", "pgstore"}

// namesStores lists who may import a concrete store outside tests.
var namesStores = map[string][]string{
	"internal/cli":       stores,
	"internal/crashtest": stores, // its worker is a process of a test
	"guardtest":          {"memstore"},
	"storetest":          {"memstore"},
}

// local returns a path inside the module: "" for the root package. It reports
// false for packages of other modules.
func local(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// within reports whether a local path is a package or below it.
func within(rel, parent string) bool {
	return rel == parent || strings.HasPrefix(rel, parent+"/")
}

// isTestPackage reports whether a package is for tests alone.
func isTestPackage(rel string) bool {
	for elem := range strings.SplitSeq(rel, "/") {
		if strings.HasSuffix(elem, "test") || elem == "cutproxy" {
			return true
		}
	}
	return false
}

// checkArrows returns what is wrong with the imports of a set of packages, which
// holds the module's packages and all they depend on.
func checkArrows(pkgs []pkg) []string {
	known := make(map[string]pkg)
	for _, p := range pkgs {
		known[p.ImportPath] = p
	}
	var wrong []string
	for _, p := range pkgs {
		rel, ok := local(p.ImportPath)
		if !ok {
			continue
		}
		switch {
		case rel == "":
			wrong = append(wrong, checkRoot(p, known)...)
		case within(rel, "cmd"):
			wrong = append(wrong, checkProgram(p)...)
		}
		wrong = append(wrong, checkStores(rel, p)...)
	}
	slices.Sort(wrong)
	return slices.Compact(wrong)
}

// checkRoot: the root package brings nothing but the standard library into its
// users' programs.
func checkRoot(p pkg, known map[string]pkg) []string {
	var wrong []string
	for _, dep := range p.Deps {
		rel, ok := local(dep)
		switch {
		case ok && !within(rel, "internal"):
			wrong = append(wrong, fmt.Sprintf("the root package depends on %s: it may know the standard library and internal packages that keep to it", dep))
		case !ok && !known[dep].Standard:
			wrong = append(wrong, fmt.Sprintf("the root package depends on %s, which is not in the standard library", dep))
		}
	}
	return wrong
}

// checkProgram: what is for tests never reaches the program.
func checkProgram(p pkg) []string {
	var wrong []string
	for _, dep := range p.Deps {
		rel, ok := local(dep)
		if ok && isTestPackage(rel) {
			wrong = append(wrong, fmt.Sprintf("%s depends on %s, which is for tests alone", p.ImportPath, dep))
		}
	}
	if slices.Contains(p.Deps, "testing") {
		wrong = append(wrong, fmt.Sprintf("%s depends on testing, so some test helper is in the program", p.ImportPath))
	}
	return wrong
}

// checkStores: only internal/cli names concrete stores, and a store names no
// other, its tests included.
func checkStores(rel string, p pkg) []string {
	imports := slices.Clone(p.Imports)
	if isStore(rel) {
		imports = slices.Concat(imports, p.TestImports, p.XTestImports)
	}
	var wrong []string
	for _, imported := range imports {
		target, ok := local(imported)
		if !ok || !isStore(target) || sameStore(rel, target) || mayName(rel, target) {
			continue
		}
		if isStore(rel) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: stores do not know each other", p.ImportPath, imported))
		} else {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: only internal/cli and tests name a concrete store", p.ImportPath, imported))
		}
	}
	return wrong
}

func isStore(rel string) bool {
	return slices.ContainsFunc(stores, func(s string) bool { return within(rel, s) })
}

func sameStore(a, b string) bool {
	return slices.ContainsFunc(stores, func(s string) bool { return within(a, s) && within(b, s) })
}

func mayName(rel, store string) bool {
	for who, which := range namesStores {
		if within(rel, who) && slices.ContainsFunc(which, func(s string) bool { return within(store, s) }) {
			return true
		}
	}
	return false
}

// vagueNames say nothing about what is inside, so everything ends up there.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared"}

// checkNames returns packages with a name that says nothing.
func checkNames(pkgs []pkg) []string {
	var wrong []string
	for _, p := range pkgs {
		if rel, ok := local(p.ImportPath); ok && slices.Contains(vagueNames, path.Base(rel)) {
			wrong = append(wrong, fmt.Sprintf("%s: a package is named after the thing it holds", p.ImportPath))
		}
	}
	return wrong
}
