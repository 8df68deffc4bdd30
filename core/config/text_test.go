package config

import (
	"os"
	"strings"
	"testing"

	"gopkg.in/ini.v1"
	"pgregory.net/rapid"
)

func TestValues(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"plain", "k = v", "v"},
		{"no blanks", "k=v", "v"},
		{"password with hash", "k = rtsp://u:p#ss@h/1", "rtsp://u:p#ss@h/1"},
		{"password with semicolon", "k = rtsp://u:p;ss@h/1 ; gate", "rtsp://u:p;ss@h/1"},
		{"comment", "k = v   # why", "v"},
		{"comment after a tab", "k = v\t# why", "v"},
		{"both comment signs", "k = a ; b # c", "a"},
		{"empty", "k =", ""},
		{"empty with comment", "k =         ; only to force one", ""},
		{"hash right after =", "k =#fff", "#fff"},
		{"equals in value", "k = a=b", "a=b"},
		{"colon in key", "a:b = c", "c"},
		{"backslash at the end", `k = C:\dir\`, `C:\dir\`},
		{"percent", "k = %(name)s 80%", "%(name)s 80%"},
		{"double quotes", `k = " a # b "`, " a # b "},
		{"escaped quotes", `k = "say \"x\"" ; he said "y"`, `say "x"`},
		{"single quotes", `k = ' a ; b ' # c`, " a ; b "},
		{"apostrophe", "k = 'tis o'clock # c", "'tis o'clock"},
		{"backquotes", "k = `a\\`", `a\`},
		{"quotes inside", `k = a "b" c`, `a "b" c`},
		{"triple quotes closed at once", `k = ""`, ""},
		{"crlf", "k = v\r", "v"},
		{"utf-8", "k = Tor Süd", "Tor Süd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, ps := Parse("a.ini", []byte("[s]\n"+c.line+"\nnext = 1\n"))
			if ps != nil {
				t.Fatal(ps)
			}
			if got := f.Block("s").Entries[0].Value; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if f.Block("s").Entry("next") == nil {
				t.Error("the next line was swallowed")
			}
		})
	}
}

func TestParseProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"all at once", "x = 1\n[a]\nk = 1\nk = 2\nword\n[a]\n[b\n= 3\n",
			`a.ini:1:1: key "x" stands before any [section]; put the section's name above it
a.ini:4:1: duplicate key "k" in [a]; it is set on line 3; keep one
a.ini:5:1: the line has no =; lines are [section], key = value, or begin with # or ;
a.ini:6:1: section [a] is there twice; it began on line 2; join the two
a.ini:7:1: section without a closing ]; write [name]
a.ini:8:1: no key before the =; write key = value`},
		{"colon", "[a]\n  dvr-chunk: 2m\n", `a.ini:2:3: the line has no =; write dvr-chunk = value, with = in place of the :`},
		{"open quote", "[a]\nk = \"x\n", `a.ini:2:5: quote without an end in the value of "k"; values end with their line; to begin one with a quote, enclose it in another kind`},
		{"after quote", "[a]\nk = \"x\" y\n", `a.ini:2:5: text after the closing quote in the value of "k"; enclose the whole value, or use no quotes`},
		{"triple", "[a]\nk = \"\"\"x\"\"\"\n", `a.ini:2:5: text after the closing quote in the value of "k"; enclose the whole value, or use no quotes`},
		{"nameless", "[ ]\n", `a.ini:1:1: section without a name; write [name]`},
		{"text after section", "[a] b\n", `a.ini:1:5: text after the section name; put it on a line of its own`},
		{"control", "[a]\nk = a\x01b\n", `a.ini:2:6: control character '\x01' in the line; remove it`},
		{"zero", "[a]\nk = a\x00b\n", "a.ini:2:6: the file holds a zero byte; is this a text file?"},
		{"latin-1", "[a]\nk = S\xfcd\n", "a.ini:2:6: the file is not UTF-8 text; save it as UTF-8"},
		{"utf-16", "\xff\xfe[\x00", "a.ini:1:1: the file is UTF-16 text; save it as UTF-8"},
		{"large", strings.Repeat("#", MaxFileSize+1), "a.ini: the file is 1048577 bytes long; settings files may be up to 1 MB; is this the right file?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, ps := Parse("a.ini", []byte(c.text))
			if got := ps.Error(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestByteOrderMark(t *testing.T) {
	f, ps := Parse("a.ini", []byte("\ufeff[a]\nk = 1\n"))
	if ps != nil || f.Block("a").Entry("k") == nil {
		t.Fatalf("%v %v", f.Blocks, ps)
	}
	out, err := f.Set("a", "k", "2")
	if err != nil || string(out) != "\ufeff[a]\nk = 2\n" {
		t.Errorf("%q %v", out, err)
	}
}

// FuzzParse: any bytes parse without a panic, the file is kept byte for byte,
// and where ini.v1 itself has no traps the two agree.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "[a]\nk = v\n", "[a]\r\nk = \"v\\\"\" ; c\r\n", "\ufeff[a]", "k=`\n`", "[a]\nk='''\n-=1\n[a.b]\n", "[a]\nk=\"\"\"\nx\n\"\"\"\n", "[DEFAULT]\n1=2\\\n", "[a]\nk = \u0085x\u00a0\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, ps := Parse("f", text)
		if len(file.lines) > 0 && string(file.Bytes()) != string(text) {
			t.Fatal("bytes were not kept")
		}
		for _, b := range file.Blocks {
			for _, e := range b.Entries {
				if strings.ContainsAny(e.Value, "\n\r") {
					t.Fatalf("value %q spans lines", e.Value)
				}
				out, err := file.Set(b.Name, e.Key, "new # value")
				if err != nil {
					t.Fatal(err)
				}
				checkOneLine(t, string(text), string(out), e.Line)
			}
		}
		if len(ps) > 0 || strings.ContainsAny(string(text), "\"'`#;\\\ufeff\u0085\v\f\u00a0") {
			return
		}
		other, err := ini.LoadSources(ini.LoadOptions{KeyValueDelimiters: "=", IgnoreContinuation: true}, text)
		if err != nil {
			return // a section name of blanks, for one
		}
		for _, b := range file.Blocks {
			for _, e := range b.Entries {
				if sec, err := other.GetSection(b.Name); err == nil && sec.HasKey(e.Key) && sec.Key(e.Key).Value() != e.Value {
					t.Fatalf("%q: %q, ini.v1 reads %q", e.Key, e.Value, sec.Key(e.Key).Value())
				}
			}
		}
	})
}

// checkOneLine fails unless only line number no differs.
func checkOneLine(t interface{ Fatalf(string, ...any) }, before, after string, no int) {
	a, b := splitLines(before), splitLines(after)
	if len(a) != len(b) {
		t.Fatalf("%d lines became %d", len(a), len(b))
	}
	for i := range a {
		if i != no-1 && a[i] != b[i] {
			t.Fatalf("line %d changed from %q to %q", i+1, a[i], b[i])
		}
	}
}

func TestSetKeepsOtherLines(t *testing.T) {
	line := rapid.OneOf(
		rapid.StringMatching(`[ \t]*[#;][ -~]{0,10}`), rapid.StringMatching(`[ \t]{0,3}`),
		rapid.StringMatching(`[ \t]{0,2}[a-e][ \t]{0,2}=[ \t]{0,2}[ -~]{0,12}`), rapid.StringMatching(`\[[st]\]( [#;]x)?`))
	value := rapid.OneOf(rapid.StringMatching("[ -~]{0,12}"), rapid.StringMatching("[\"'`#; a\\\\]{0,6}"), rapid.Just("rtsp://u:p#ss@h/1"))
	rapid.Check(t, func(t *rapid.T) {
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end")
		text := "[s]" + end + strings.Join(rapid.SliceOfN(line, 0, 12).Draw(t, "lines"), end) + rapid.SampledFrom([]string{"", end}).Draw(t, "last")
		key := rapid.SampledFrom([]string{"a", "b", "z"}).Draw(t, "key")
		section := rapid.SampledFrom([]string{"s", "t", "u"}).Draw(t, "section")
		v := value.Draw(t, "value")
		file, ps := Parse("f", []byte(text))
		out, err := file.Set(section, key, v)
		if err != nil {
			if ps.HasErrors() || strings.Contains(v, `\`) && strings.Contains(v, "`") && strings.Contains(v, "'") {
				return // a broken file that hides the section, or no notation for the value
			}
			t.Fatal(err)
		}
		again, _ := Parse("f", out)
		e := again.Block(section).Entry(key)
		if e == nil || e.Value != v {
			t.Fatalf("%q does not read back from %q", v, out)
		}
		if old := file.Block(section).Entry(key); old != nil {
			checkOneLine(t, text, string(out), old.Line)
			return
		}
		if file.Block(section) == nil {
			if !strings.HasPrefix(string(out), text) {
				t.Fatalf("adding [%s] changed more:\n%q\n%q", section, text, out)
			}
			return
		}
		// Taking the added line away gives the old text.
		lines := splitLines(string(out))
		rest := strings.Join(append(append([]string{}, lines[:e.Line-1]...), lines[e.Line:]...), "")
		if strings.TrimSuffix(rest, end) != strings.TrimSuffix(text, end) {
			t.Fatalf("adding %q changed more:\n%q\n%q", key, text, out)
		}
	})
}

func TestUnsetAndWriteFile(t *testing.T) {
	f, _ := Parse("a", []byte("[s]\na = 1\nb = 2 ; two\n"))
	if got := string(f.Unset("s", "a")); got != "[s]\nb = 2 ; two\n" {
		t.Errorf("%q", got)
	}
	if got := string(f.Unset("s", "z")); got != string(f.Bytes()) {
		t.Errorf("%q", got)
	}
	dir := t.TempDir()
	path := dir + "/a.ini"
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := (Disk{}).ReadFile(path); err != nil || string(got) != text {
			t.Fatalf("%q %v", got, err)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	if WriteFile("/proc/no/such", nil) == nil {
		t.Error("a folder that is not there was written to")
	}
}
