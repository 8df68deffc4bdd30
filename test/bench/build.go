package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed probe.go.txt
var probe []byte

// build builds the server and its plugins into dir, as make build does. with
// names a file of Go that every program is built with beside its own; "" =
// none. It comes in by the compiler's overlay, so that no program of the tree
// has a door that only measurements need.
func build(ctx context.Context, dir, with string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	top := string(root[:len(root)-1])
	if err := os.MkdirAll(filepath.Join(dir, "plugins"), 0o755); err != nil {
		return err
	}
	overlay := map[string]string{}
	one := func(pkg, to string) error {
		args := []string{"build", "-trimpath", "-o", to}
		if with == "" {
			args = append(args, "-ldflags", "-s -w")
		} else {
			overlay[filepath.Join(top, pkg, "zz_probe.go")] = with
			j, err := json.Marshal(map[string]any{"Replace": overlay})
			if err != nil {
				return err
			}
			o := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(o, j, 0o644); err != nil {
				return err
			}
			args = append(args, "-overlay", o)
		}
		cmd := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...)
		cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
		return nil
	}
	if err := one("cmd/media-server", filepath.Join(dir, "media-server")); err != nil {
		return err
	}
	for _, name := range []string{"rtsp", "local"} {
		to := filepath.Join(dir, "plugins", name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		ini, err := os.ReadFile(filepath.Join(top, "plugins", name, "plugin.ini"))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, "plugin.ini"), ini, 0o644); err != nil {
			return err
		}
		if err := one("plugins/"+name, filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}
