package mux

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"media-server/core/media"
)

func exampleHeader() PartHeader {
	return PartHeader{Track: 1, First: true, Last: true, Independent: true, DurableTo: 4096, Epoch: 3,
		Run: media.RunID{0: 0xaa, 15: 0xbb}, Zero: zero, Segment: 1700, Discontinuity: 2, PartIndex: 4, MoofCRC: 0x01020304,
		FirstSeq: 900, LastSeq: 903, WallStart: zero.Add(10e9), CameraPTS: 810000, CameraOffset: NoCameraOffset,
		Hashes: []uint64{1, 2, 3}, Seqs: []uint64{900, 901, 903}, Clock: []byte("clock")}
}

// TestFormatExample decodes the example of FORMAT.md.
func TestFormatExample(t *testing.T) {
	doc, err := os.ReadFile("../archive/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```hex\n")
	text, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("FORMAT.md has no example")
	}
	want := exampleHeader()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != string(want.append(nil, nil)) {
		t.Errorf("the example should read\n%s", dump(want.append(nil, nil)))
	}
	got, err := ParsePartHeader(b)
	if err != nil || got.Segment != want.Segment || got.Seqs[2] != 903 || string(got.Clock) != "clock" || got.CameraOffset != NoCameraOffset {
		t.Errorf("%+v %v", got, err)
	}
}

func dump(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(32, len(b))
		s.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return s.String()
}

// TestHeaderRefusals: what an old reader must not interpret.
func TestHeaderRefusals(t *testing.T) {
	h := exampleHeader()
	h.Seqs, h.FirstSeq, h.LastSeq = nil, 900, 902
	good := h.append(nil, nil)
	for _, c := range []struct {
		name string
		tag  uint16
		ok   bool
	}{{"may be skipped", 0x0777, true}, {"encryption, too short for what it must say", recordEncrypted, false}, {"must be understood", 0x8777, false}} {
		b := boxes(append([]byte(nil), good...))
		b.u16(c.tag)
		b.u16(2)
		b.u16(0)
		b[3] = byte(len(b))
		b[151] = 6
		sealHeader(b)
		got, err := ParsePartHeader(b)
		if (err == nil) != c.ok || c.ok && got.Encrypted != (c.tag == recordEncrypted) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x10
		if _, err := ParsePartHeader(bad); err == nil {
			t.Errorf("a flipped bit at %d is not noticed", i)
		}
	}
}

func TestSetDurable(t *testing.T) {
	h := exampleHeader()
	b := h.append(nil, nil)
	SetDurable(b, 1<<40)
	if got, err := ParsePartHeader(b); err != nil || got.DurableTo != 1<<40 {
		t.Errorf("%+v %v", got, err)
	}
}
