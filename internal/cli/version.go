package cli

import (
	"runtime"
	"runtime/debug"
)

// version is set by the release build:
// -ldflags "-X github.com/onceguard/onceguard/internal/cli.version=v1.2.3".
var version string

// programVersion is the release, or what the Go toolchain knows of the build.
func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// versionCmd is `onceguard version`.
type versionCmd struct {
	JSON bool `help:"Print JSON: {version, revision, modified, go, os, arch}."`
}

// Help is shown below the flags.
func (versionCmd) Help() string { return "Example:\n\n  onceguard version --json" }

type versionView struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// Run is the command.
func (c *versionCmd) Run(a *app) error {
	v := versionView{Version: programVersion(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if c.JSON {
		return a.printJSON(v)
	}
	return a.print("onceguard %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
}
