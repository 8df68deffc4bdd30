package archive

import (
	"bytes"
	"reflect"
	"testing"
)

// agree compares what scanIndex makes of a box with what ParseIndex does.
func agree(t *testing.T, b []byte) bool {
	t.Helper()
	x, err := ParseIndex(b, false)
	s, serr := scanIndex(b)
	if (err == nil) != (serr == nil) {
		t.Fatalf("the parser says %v, the scan %v", err, serr)
	}
	if err != nil {
		return false
	}
	l := &x.Layout
	want := &indexSum{File: l.File, UID: l.UID, Run: l.Run, Zero: l.Zero, Init: l.Init, Rules: x.Rules, Segs: rowsOf(l), Enc: l.Encryption, Groomed: x.Flags&IndexGroomed != 0}
	if x.Shape != nil {
		want.Shape = appendShape(nil, x.Shape)
	}
	if !reflect.DeepEqual(s, want) {
		t.Fatalf("the scan reads\n%+v, the parser\n%+v", s, want)
	}
	return true
}

// TestScanIndex: the short way through an index box tells what the long one
// does, also of a box that lies behind a checksum that is right.
func TestScanIndex(t *testing.T) {
	b := AppendIndex(nil, sampleIndex())
	if !agree(t, b) {
		t.Fatal("a good box is refused")
	}
	taken, refused := 0, 0
	for at := range len(b) - trailerSize {
		for v := 0; v < 256; v += 3 {
			c := bytes.Clone(b)
			c[at] = byte(v)
			mendIndex(c)
			if agree(t, c) {
				taken++
			} else {
				refused++
			}
		}
	}
	for at := boxCommon; at < len(b)-trailerSize; at++ { // numbers longer than any may be, and long forms of short ones
		for _, long := range []string{"\xff\xff\xff\xff\x7f", "\x81\x80\x80\x80\x80\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
			c := append(append(bytes.Clone(b[:at]), long...), b[at+1:]...)
			mendIndex(c)
			agree(t, c)
		}
	}
	if taken < 1000 || refused < 1000 {
		t.Errorf("%d boxes taken, %d refused: little was tried", taken, refused)
	}
	for n := range b {
		agree(t, b[:n])
	}
}

func FuzzScanIndex(f *testing.F) {
	b := AppendIndex(nil, sampleIndex())
	f.Add(b, 40, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add(b, 200, 3, []byte{})
	f.Fuzz(func(t *testing.T, b []byte, at, cut int, with []byte) {
		agree(t, b)
		if at < boxCommon || cut < 0 || at > len(b)-trailerSize || cut > len(b)-trailerSize-at {
			return
		}
		b = append(append(bytes.Clone(b[:at]), with...), b[at+cut:]...)
		mendIndex(b)
		agree(t, b)
	})
}

// BenchmarkScanIndex compares a rebuild's way through a small box with the long one.
func BenchmarkScanIndex(b *testing.B) {
	box := AppendIndex(nil, sampleIndex())
	for name, read := range map[string]func() error{
		"scan":  func() error { _, err := scanIndex(box); return err },
		"parse": func() error { _, err := ParseIndex(box, false); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(box)))
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
