package archive

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"regexp"
	"strings"
	"testing"

	"media-server/core/media"
	"media-server/core/mux"
)

// exampleCipher is the cipher of the key that FORMAT.md shows.
func exampleCipher(t testing.TB) *partCipher {
	c, err := newCipher(Encryption{Key: KeyID{0xaa}, Day: 20786}, &[32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// examplePart is the part that FORMAT.md shows, before it is encrypted.
func examplePart(t testing.TB) *media.Part {
	zero := media.Wall(1_796_000_000_000_000_000)
	w := mux.NewWriter(mux.Config{Chain: true, Epoch: 5}, mux.Start{Run: media.RunID{0xcc}, Zero: zero, Segment: 7,
		Tracks: []media.Track{{ID: 2, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}}})
	var parts []*media.Part
	for i, text := range []string{"one unit", "another unit"} {
		p, _, err := w.Write(media.AccessUnit{Track: 2, Seq: uint64(40 + i), PTS: int64(i) * 160, Key: true, Payload: []byte(text)}, zero.Add(10e9), func() []byte { return []byte("clock") })
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p...)
	}
	parts = append(parts, w.Flush()...)
	if len(parts) != 1 {
		t.Fatalf("%d parts", len(parts))
	}
	return parts[0]
}

// exampleFragment is the encrypted fragment that FORMAT.md shows.
func exampleFragment(t testing.TB) []byte {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```encrypted\n(.*?)```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("FORMAT.md has no example of an encrypted fragment")
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(m[1])), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEncryptedExample decrypts the fragment that FORMAT.md shows.
func TestEncryptedExample(t *testing.T) {
	b := exampleFragment(t)
	x, next, err := mux.ParseFragment(bytes.NewReader(b), 0, int64(len(b)))
	if err != nil || next != int64(len(b)) || !x.Header.Encrypted {
		t.Fatalf("%+v %v", x, err)
	}
	if n, err := x.VerifyPayload(bytes.NewReader(b)); n != 2 || err != nil {
		t.Errorf("without the key: %d units, %v", n, err)
	}
	if err := exampleCipher(t).verify(bytes.NewReader(b), &x); err != nil {
		t.Error(err)
	}
	if _, err := exampleCipher(t).open(b[:x.PayloadAt], b[x.PayloadAt:]); err != nil || string(b[x.PayloadAt:]) != "one unitanother unit" {
		t.Errorf("%q %v", b[x.PayloadAt:], err)
	}
}

// TestEveryBitIsAuthenticated: a bit changed anywhere in a fragment, every
// checksum mended, is noticed, unless it is one that is written later.
func TestEveryBitIsAuthenticated(t *testing.T) {
	c := exampleCipher(t)
	s, err := c.seal(examplePart(t))
	if err != nil {
		t.Fatal(err)
	}
	f := &s.Fragments[0]
	whole := append(bytes.Clone(f.Head), f.Payload...)
	uuid := f.UUIDLen
	later := func(at int) bool {
		chain := uuid - 4 - 32 - 32 // the link, in front of the encryption record
		return at >= 28 && at < 40 || at >= chain && at < chain+32 || at >= uuid-4 && at < uuid || at >= len(f.Head)-mdatHeader && at < len(f.Head)
	}
	for at := range whole {
		b := append(make([]byte, 0, len(whole)+16), whole...)
		b[at] ^= 4
		mendPart(b[:uuid])
		_, err := c.open(b[:len(f.Head)], b[len(f.Head):])
		if later(at) != (err == nil) {
			t.Errorf("byte %d: %v", at, err)
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d: %v is not called damage", at, err)
		}
	}
	other, _ := newCipher(c.enc, &[32]byte{2})
	b := append(make([]byte, 0, len(whole)+16), whole...)
	if _, err := other.open(b[:len(f.Head)], b[len(f.Head):]); err == nil {
		t.Error("another key opens it")
	}
}

// TestDurableAfterSealing: what recovery needs is written into a sealed head.
func TestDurableAfterSealing(t *testing.T) {
	c := exampleCipher(t)
	p := examplePart(t)
	clear := bytes.Clone(p.Fragments[0].Payload)
	s, err := c.seal(p)
	if err != nil {
		t.Fatal(err)
	}
	f := &s.Fragments[0]
	if !bytes.Equal(p.Fragments[0].Payload, clear) || len(f.Payload) != len(clear) || bytes.Contains(f.Payload, []byte("unit")) {
		t.Error("the part itself was changed, or its length")
	}
	mux.SetDurable(f.Head, 4096)
	if !mux.SetChain(f.Head, [32]byte{9}) {
		t.Error("no room for a chain link")
	}
	h, err := mux.ParsePartHeader(f.Head)
	if err != nil || h.DurableTo != 4096 || h.Chain != [32]byte{9} || !h.Encrypted || h.FirstSeq != 40 || string(h.Clock) != "clock" {
		t.Fatalf("%+v %v", h, err)
	}
	b := append(bytes.Clone(f.Head), f.Payload...)
	if _, err := c.open(b[:len(f.Head)], b[len(f.Head):]); err != nil {
		t.Error(err)
	}
}

func TestEncryptedHeader(t *testing.T) {
	h := sampleHeader()
	h.Features, h.Encryption = featureEncrypted, &Encryption{Key: KeyID{1, 2}, Day: 20786}
	got, err := ParseFileHeader(AppendFileHeader(nil, h))
	if err != nil || got.Unreadable || got.Encryption == nil || *got.Encryption != *h.Encryption {
		t.Errorf("%+v %v", got, err)
	}
	x := sampleIndex()
	x.Layout.Encryption = h.Encryption
	if y, err := ParseIndex(AppendIndex(nil, x), false); err != nil || *y.Layout.Encryption != *h.Encryption {
		t.Error(err)
	}
	if e := parseEncryption(append([]byte{9}, make([]byte, 20)...)); e != nil {
		t.Error("a scheme of a later version is taken")
	}
	h.Features = 0 // one without the other
	if got, err := ParseFileHeader(AppendFileHeader(nil, h)); err != nil || !got.Unreadable {
		t.Errorf("a key and no feature: %v", err)
	}
	if DayName(20786) != "2026-11-29" || DayOf(media.Wall(20786*86400e9)) != 20786 || DayOf(media.Wall(20787*86400e9-1)) != 20786 {
		t.Error(DayName(20786))
	}
}

// mendPart makes size and checksum of a part header right again.
func mendPart(b []byte) {
	binary.BigEndian.PutUint32(b[28:], crc32.Update(crc32.Checksum(b[24:28], castagnoli), castagnoli, b[32:]))
}

// TestPlainCache: what is kept stays within its bound, and a fragment that is
// too large for it is left to its reader.
func TestPlainCache(t *testing.T) {
	c := newPlainCache(1000)
	for i := range 100 {
		if !c.put(plainKey{off: int64(i)}, make([]byte, 90)) {
			t.Fatal(i)
		}
		c.get(plainKey{off: 0})
	}
	if c.size > 1000 || c.order.Len() != 11 || len(c.byKey) != 11 || c.get(plainKey{off: 0}) == nil || c.get(plainKey{off: 50}) != nil {
		t.Errorf("%d bytes, %d fragments", c.size, c.order.Len())
	}
	if c.put(plainKey{off: 1000}, make([]byte, 251)) || c.order.Len() != 11 {
		t.Error("a fragment of a quarter of all was kept")
	}
	if c.clear(); c.size != 0 || c.get(plainKey{off: 0}) != nil {
		t.Error("not forgotten")
	}
}

// FuzzOpen gives the decoder of encrypted fragments headers whose checksums are
// right and whose contents are not.
func FuzzOpen(f *testing.F) {
	c, b := exampleCipher(f), exampleFragment(f)
	x, _, err := mux.ParseFragment(bytes.NewReader(b), 0, int64(len(b)))
	if err != nil {
		f.Fatal(err)
	}
	good := bytes.Clone(b[x.PayloadAt:])
	f.Add(bytes.Clone(b[:x.PayloadAt]), good)
	f.Add(bytes.Clone(b[:x.HeaderLen]), []byte{})
	f.Fuzz(func(t *testing.T, head, payload []byte) {
		head = bytes.Clone(head)
		if len(head) >= 152 {
			n := int(binary.BigEndian.Uint32(head))
			if n < 152 || n > len(head) {
				n = len(head)
				binary.BigEndian.PutUint32(head, uint32(n))
			}
			mendPart(head[:n])
		}
		want := bytes.Clone(payload)
		payload = bytes.Clone(payload)
		h, err := c.open(head, payload)
		if err == nil && !bytes.Equal(want, good) {
			t.Fatal("something else was taken")
		}
		if err == nil {
			_ = c.checkHashes(head, h, []media.Sample{{Size: 8}, {Size: 12}}, payload)
		}
	})
}
