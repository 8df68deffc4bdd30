package pluginhost

import (
	"os"
	"path/filepath"
	"testing"
)

// A copy dropped beside a plugin does not take its name, whatever folder name
// it has; once the first is gone it does.
func TestACopyDoesNotReplace(t *testing.T) {
	root := t.TempDir()
	o := (&Options{Dirs: []string{root}, RunDir: t.TempDir()}).withDefaults()
	add := func(folder, name string) {
		t.Helper()
		dir := filepath.Join(root, folder)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		text := "[plugin]\nname = " + name + "\nkind = driver\nprotocol = 1\nexec = x\n"
		for file, text := range map[string]string{"plugin.ini": text, "x": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	var f finder
	owner := func() (dir string, refused int) {
		f.scan(&o)
		specs, _ := f.scan(&o)
		for _, s := range specs {
			if s.name == "cam" {
				dir = filepath.Base(s.dir)
			}
			if s.problem != nil {
				refused++
			}
		}
		return dir, refused
	}
	add("m", "cam")
	for _, c := range []struct {
		add, remove, want string
		refused           int
	}{
		{"", "", "m", 0}, {"a", "", "m", 1}, {"cam", "", "m", 2}, {"", "m", "cam", 1}, {"", "cam", "a", 0},
	} {
		if c.add != "" {
			add(c.add, "cam")
		}
		if c.remove != "" {
			os.RemoveAll(filepath.Join(root, c.remove))
		}
		if dir, refused := owner(); dir != c.want || refused != c.refused {
			t.Errorf("%+v: the name is with %q, %d refused", c, dir, refused)
		}
	}
}

func TestLook(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "bad")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plugin.ini"), []byte("[plugin]\nkind = driver\nprotocol = 2\nexec = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := Look(Options{Dirs: []string{root}, RunDir: t.TempDir()})
	if len(got) != 1 || got[0].State != StateRefused || got[0].Problem == nil || got[0].Problem.Line != 3 {
		t.Errorf("%+v", got)
	}
	if _, p := ReadManifest(dir); p == nil {
		t.Error("a bad folder is good")
	}
}
