package config

import (
	"testing"
)

// TestSections: a section comes and goes, and no other byte changes.
func TestSections(t *testing.T) {
	const text = "# mine\n\n[space.a]\npath = /a ; the first\n\n# about b\n[space.b]\npath = /b\n"
	f, _ := Parse("x.ini", []byte(text))
	b, err := f.AddSection("pool.p", []Pair{{"spaces", "a, b"}, {"days", "4w"}})
	if want := text + "\n[pool.p]\nspaces = a, b\ndays = 4w\n"; err != nil || string(b) != want {
		t.Fatalf("%v\n%s", err, b)
	}
	g, _ := Parse("x.ini", b)
	if got := string(g.RemoveSection("pool.p")); got != text+"\n" {
		t.Errorf("%q", got)
	}
	if got := string(f.RemoveSection("space.a")); got != "# mine\n\n# about b\n[space.b]\npath = /b\n" {
		t.Errorf("%q", got)
	}
	if got := string(f.RemoveSection("space.c")); got != text {
		t.Errorf("%q", got)
	}
	for _, bad := range []struct {
		section string
		pairs   []Pair
	}{
		{"space.a", []Pair{{"path", "/c"}}},
		{"space.c", nil},
		{"space]c", []Pair{{"path", "/c"}}},
		{"space.c", []Pair{{"path\n[space.d]", "/c"}}},
		{"space.c", []Pair{{"[x", "/c"}}},
	} {
		if b, err := f.AddSection(bad.section, bad.pairs); err == nil {
			t.Errorf("%+v gave %q", bad, b)
		}
	}
}

// TestOverlay: a file reads as it would after an edit, also where it is not yet.
func TestOverlay(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.ini", "z.ini"} {
		if err := WriteFile(dir+"/"+name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"0.ini", "a.ini", "m.ini", "zz.ini"} {
		o := Overlay{Disk{}, dir + "/" + name, []byte("new")}
		names, err := o.ReadDir(dir)
		n := 0
		for i, x := range names {
			if x == name {
				n++
			}
			if i > 0 && names[i-1] >= x {
				t.Errorf("out of order: %v", names)
			}
		}
		if b, err2 := o.ReadFile(dir + "/" + name); n != 1 || err != nil || err2 != nil || string(b) != "new" {
			t.Errorf("%s: %v %v %q %v", name, names, err, b, err2)
		}
	}
	if names, _ := (Overlay{Disk{}, dir + "/sub/x.ini", nil}).ReadDir(dir + "/sub"); len(names) != 1 {
		t.Errorf("a folder that is not there yet: %v", names)
	}
}
