package pluginhost

import (
	"os"
	"path/filepath"
	"strings"
)

// WholeOnly tells whether the storage plugin of a name takes whole files only,
// as its plugin.ini in one of the folders says. It reads nothing but plugin.ini
// and starts nothing: settings are checked before any plugin runs. A plugin
// that is not there is taken for one whose files grow.
func WholeOnly(dirs []string, name string) bool {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // the host tells
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			file := filepath.Join(dir, e.Name(), "plugin.ini")
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			if m, err := parseManifest(file, e.Name(), string(text)); err == nil && m.kind == "storage" && m.name == name {
				return m.wholeOnly
			}
		}
	}
	return false
}
