package archive

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func sampleProof() *Proof {
	return &Proof{File: 5<<32 | 1, Index: [32]byte{1}, Begin: [32]byte{2}, Signature: []byte("signature"), Fragments: []ProofFragment{
		{Track: 1, Units: 3, Kept: []int{0, 2}, Head: [32]byte{3}, Leaves: [][32]byte{{4}}},
		{Track: 2, Units: 2, Head: [32]byte{5}, Leaves: [][32]byte{{6}, {7}}},
		{Track: 1, Units: 1, Kept: []int{0}, Head: [32]byte{8}},
	}}
}

func TestProof(t *testing.T) {
	p := sampleProof()
	got, err := parseProof(appendProof(nil, p))
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Fatalf("%+v, %v; want %+v", got, err, p)
	}
}

// FuzzProof: foreign bytes are refused, or written again as they were.
func FuzzProof(f *testing.F) {
	b := appendProof(nil, sampleProof())
	f.Add(b[boxCommon:])
	f.Fuzz(func(t *testing.T, body []byte) {
		box, at := openBox(nil, boxGroom, 0, 0)
		box = append(box, body...)
		closeBox(box, at, true)
		p, err := parseProof(box)
		if err != nil {
			return
		}
		for i := range p.Fragments {
			if f := &p.Fragments[i]; len(f.Kept)+len(f.Leaves) != f.Units {
				t.Fatalf("fragment %d: %d kept and %d leaves of %d units", i, len(f.Kept), len(f.Leaves), f.Units)
			}
		}
		p.link(func(int) ([32]byte, bool) { return [32]byte{}, true })
		again, err := parseProof(appendProof(nil, p))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("written again it is %+v, %v; was %+v", again, err, p)
		}
	})
}

// TestProofExample: the document's own example.
func TestProofExample(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```proof\n")
	text, _, _ := strings.Cut(rest, "```")
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	want := appendProof(nil, sampleProof())
	if !bytes.Equal(b, want) {
		t.Errorf("FORMAT.md has\n%x\nwant\n%s", b, lines(want))
	}
}

func lines(b []byte) (s string) {
	for chunk := range slices.Chunk(b, 32) {
		s += hex.EncodeToString(chunk) + "\n"
	}
	return s
}
