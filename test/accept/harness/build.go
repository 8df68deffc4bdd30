package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Bin is where the server and bin/plugins lie; Build sets it.
var Bin string

// Root is the folder of go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
		dir = up
	}
	return "", err
}

// Build builds the server and its plugins into dir, so that what is tested is
// this tree and not what somebody built before. MEDIA_SERVER_BIN names a folder
// built already.
func Build(dir string) error {
	if b := os.Getenv("MEDIA_SERVER_BIN"); b != "" {
		Bin = b
		return nil
	}
	root, err := Root()
	if err != nil {
		return err
	}
	if err := build(root, "./cmd/media-server", filepath.Join(dir, "media-server")); err != nil {
		return err
	}
	inis, err := filepath.Glob(filepath.Join(root, "plugins/*/plugin.ini"))
	if err != nil {
		return err
	}
	for _, ini := range inis {
		name := filepath.Base(filepath.Dir(ini))
		to := filepath.Join(dir, "plugins", name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		b, err := os.ReadFile(ini)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, "plugin.ini"), b, 0o644)
		}
		if err == nil {
			err = build(root, "./plugins/"+name, filepath.Join(to, name))
		}
		if err != nil {
			return err
		}
	}
	Bin = dir
	return nil
}

// Mutant builds a server of which one file (a path below the root) has text in
// the place of other text, which must be there once. The tree is left as it is,
// so that nothing that is built of it can be told to lose frames.
func Mutant(dir, file, old, text string) (core string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	file = filepath.Join(root, file)
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(b), old); n != 1 {
		return "", fmt.Errorf("%s has %q %d times: the mutant must be made anew", file, old, n)
	}
	changed, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		return "", err
	}
	core = filepath.Join(dir, "media-server")
	return core, errors.Join(os.WriteFile(changed, []byte(strings.Replace(string(b), old, text, 1)), 0o644), os.WriteFile(overlay, list, 0o644),
		build(root, "./cmd/media-server", core, "-overlay", overlay))
}

func build(root, pkg, to string, more ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-o", to}, more...), pkg)...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// Commit names the tree under test.
func Commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
