package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/app"
)

// version is set by -ldflags "-X main.version=v1.2.3"; else the module's is taken.
var version string

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go version and features",
		Example: `  log_capturer version
  log_capturer version --json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		info := buildInfo()
		if *asJSON {
			text, err := json.MarshalIndent(info, "", "  ")
			return write(cmd.OutOrStdout(), append(text, '\n'), err)
		}
		text := fmt.Sprintf("log_capturer %s\ncommit:   %s\ngo:       %s\nfeatures: %s\n",
			info.Version, info.Commit, info.Go, strings.Join(info.Features, " "))
		return write(cmd.OutOrStdout(), []byte(text), nil)
	}
	return cmd
}

func buildInfo() app.BuildInfo {
	build, _ := debug.ReadBuildInfo()
	return describeBuild(version, build)
}

// describeBuild prefers what the linker was told over what Go noted; build may be nil.
func describeBuild(version string, build *debug.BuildInfo) app.BuildInfo {
	info := app.BuildInfo{Version: version, Commit: "unknown", Go: runtime.Version(), Features: app.Features()}
	if build == nil {
		build = &debug.BuildInfo{}
	}
	if info.Version == "" {
		info.Version = build.Main.Version
	}
	if info.Version == "" {
		info.Version = "(devel)"
	}
	dirty := false
	for _, setting := range build.Settings {
		switch setting.Key {
		case "vcs.revision":
			info.Commit = setting.Value
		case "vcs.modified":
			dirty = setting.Value == "true"
		}
	}
	if dirty && info.Commit != "unknown" {
		info.Commit += "+dirty"
	}
	return info
}
