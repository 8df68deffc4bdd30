package archive

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"media-server/core/media"
)

func sampleHeader() *FileHeader {
	return &FileHeader{GoesOn: true, Source: SourceLive, Optional: 1, Node: [16]byte{1, 2}, Run: media.RunID{3, 4}, Zero: 1_700_000_000_000_000_000,
		ID: 5<<32 | 6, Epoch: 5, Segment: 77, Discontinuity: 3, Previous: 5<<32 | 5, PreviousHash: [32]byte{9}, UID: "gate",
		Rules: Rules{Pool: "default", Duration: 240 * time.Hour, Keep: time.Hour, Capacity: 1 << 40, Chunk: time.Minute}, Program: "media-server 1",
		Opened: 1_700_000_010_000_000_000, Tracks: []media.Track{
			{ID: 1, Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 1, 2, 3}, PPS: []byte{0x68}, Width: 640, Height: 360},
			{ID: 2, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}}}
}

func TestFileHeader(t *testing.T) {
	h := sampleHeader()
	b := AppendFileHeader(nil, h)
	got, err := ParseFileHeader(b)
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Fatalf("%v\n%+v\n%+v", err, got, h)
	}
	for _, at := range []int{3, 9, 24, 40, len(b) - 1} {
		bad := bytes.Clone(b)
		bad[at] ^= 0x40
		if _, err := ParseFileHeader(bad); err == nil {
			t.Errorf("a header with byte %d changed is taken", at)
		}
	}
	h.Features = 1
	if got, err := ParseFileHeader(AppendFileHeader(nil, h)); err != nil || !got.Unreadable {
		t.Errorf("a feature that must be understood: %v", err)
	}
}

func sampleIndex() *Index {
	x := &Index{Flags: IndexRecovered, First: 1000, Rules: Rules{Duration: time.Hour}}
	l := &x.Layout
	l.File, l.UID, l.Run, l.Zero, l.Init, l.Complete = 42, "gate", media.RunID{7}, 1_700_000_000_000_000_000, 99, true
	at, seq := x.First, [3]uint64{0, 10, 20}
	base := [3]int64{0, 900000, 80000}
	for seg := range 3 {
		s := SegmentLayout{Number: 100 + uint64(seg), Discontinuity: 4, Independent: seg != 1, Complete: seg != 2, First: len(l.Fragments)}
		s.Span = media.Span{From: l.Zero.Add(time.Duration(10+2*seg) * time.Second), To: l.Zero.Add(time.Duration(12+2*seg) * time.Second)}
		for part := range 2 {
			for track := 1; track <= 2; track++ {
				f := Fragment{Track: track, Segment: seg, Part: part, Offset: at, MoofOffset: at + 160, MoofSize: 100, DataOffset: at + 268,
					BaseTime: base[track], FirstSeq: seq[track]}
				m := FragmentMark{CRC: uint32(at), Flags: partFirst}
				if track == 2 {
					m.Flags = partLast
				}
				for i := range 3 {
					smp := media.Sample{Size: uint32(10 + i + seg), Duration: uint32(1000 * track), Key: track == 2 || i+part == 0, CTO: int32(i * -5)}
					f.Samples = append(f.Samples, smp)
					f.DataSize += int64(smp.Size)
					f.Duration += int64(smp.Duration)
				}
				base[track] += f.Duration
				seq[track] += 3
				m.LastSeq = seq[track] - 1
				at = f.End()
				l.Fragments, x.Marks = append(l.Fragments, f), append(x.Marks, m)
			}
		}
		s.Last = len(l.Fragments)
		l.Segments = append(l.Segments, s)
	}
	l.Size, x.End = at, at
	for track := 1; track <= 2; track++ {
		x.Tracks = append(x.Tracks, IndexTrack{ID: track, Timescale: 90000, Samples: 18, Bytes: 200, Base: int64(track), End: base[track], FirstSeq: uint64(10 * track), LastSeq: seq[track] - 1})
	}
	sh := ShapeOf(&x.Layout)
	x.Shape = &sh
	return x
}

func TestIndex(t *testing.T) {
	x := sampleIndex()
	b := AppendIndex(nil, x)
	got, err := ParseIndex(b, true)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, x) {
		t.Fatalf("\n%+v\n%+v", got, x)
	}
	if n, err := TrailerLength(b); err != nil || n != int64(len(b)) {
		t.Fatal(n, err)
	}
	light, err := ParseIndex(b, false)
	if err != nil || !reflect.DeepEqual(light.Layout.Segments, x.Layout.Segments) || light.Layout.UID != "gate" {
		t.Fatalf("%v %+v", err, light)
	}
	for at := range b {
		bad := bytes.Clone(b)
		bad[at] ^= 1
		if _, err := ParseIndex(bad, true); err == nil {
			t.Fatalf("an index with byte %d changed is taken", at)
		}
	}
}

// TestLyingIndex changes every byte to many values and mends the checksum:
// whatever comes out, it must not panic.
func TestLyingIndex(t *testing.T) {
	b := AppendIndex(nil, sampleIndex())
	for at := boxCommon; at < len(b)-trailerSize; at++ {
		for v := 0; v < 256; v += 5 {
			c := bytes.Clone(b)
			c[at] = byte(v)
			mendIndex(c)
			if x, err := ParseIndex(c, true); err == nil {
				rowsOf(&x.Layout)
			}
			ParseIndex(c, false)
		}
	}
}

func TestSegmentTable(t *testing.T) {
	segs := rowsOf(&sampleIndex().Layout)
	b := appendSegTable(nil, 5, segs)
	got, err := parseSegTable(b, 5)
	if err != nil || !reflect.DeepEqual(got, segs) {
		t.Fatalf("%v\n%+v\n%+v", err, got, segs)
	}
	if len(b) > 25*len(segs) {
		t.Errorf("%d bytes for %d segments", len(b), len(segs))
	}
}

func sampleLedger() []byte {
	b := ledgerHeader([16]byte{1}, 5)
	b = appendFact(b, &fact{Type: factMark, UID: "gate", At: 1000, Cause: GapCameraLost})
	b = appendFact(b, &fact{Type: factGap, UID: "yard", At: 1000, Until: 2000, Cause: GapDriver})
	b = appendFact(b, &fact{Type: factCut, File: 5<<32 | 1, Size: 4096})
	b = appendFact(b, &fact{Type: factLock, UID: "gate", At: 1000, Until: 2000, File: 7, Size: 9000, Cause: "theft", Who: "anna", Made: 3000})
	b = appendFact(b, &fact{Type: factEvent, UID: "gate", At: 1000, Until: 2000, File: 10, Size: 20, Cause: "motion", Flags: eventRecorded})
	sealed := &fact{Type: factSigned, UID: "gate", At: 1000, Until: 2000, File: 5<<32 | 2, Size: 4096, Cause: causeSealed, Link: [32]byte{1}}
	signFact(sealed, exampleKey())
	b = appendFact(b, sealed)
	b = appendFact(b, &fact{Type: factBirth, UID: "gate", At: 1000, Until: 2000, Cause: GapCameraLost})
	return appendFact(b, &fact{Type: factExpired, UID: "gate", Until: 2000})
}

func TestLedgerTornAnywhere(t *testing.T) {
	b := sampleLedger()
	var whole []fact
	if good, err := parseLedger(b, func(f fact) { whole = append(whole, f) }); err != nil || good != len(b) || len(whole) != 8 {
		t.Fatal(good, err, whole)
	}
	for n := ledgerHead; n < len(b); n++ {
		var part []fact
		good, err := parseLedger(b[:n], func(f fact) { part = append(part, f) })
		if err != nil || good > n || len(part) == 8 || len(part) > 0 && !reflect.DeepEqual(part, whole[:len(part)]) {
			t.Fatalf("cut at %d: %d good, %v, %v", n, good, err, part)
		}
	}
}

// keyed signs with a key made of a seed.
type keyed ed25519.PrivateKey

func exampleKey() keyed { return keyed(ed25519.NewKeyFromSeed(append([]byte{1}, make([]byte, 31)...))) }

func (k keyed) KeyID() [8]byte {
	h := sha256.Sum256(ed25519.PrivateKey(k).Public().(ed25519.PublicKey))
	return [8]byte(h[:8])
}
func (k keyed) Sign(m []byte) []byte { return ed25519.Sign(ed25519.PrivateKey(k), m) }

// TestSignatureExample decodes the signature that FORMAT.md shows, and verifies
// it with the public key there.
func TestSignatureExample(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)public key\n`([0-9a-f]{64})`:\n\n```sign\n(.*?)```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("FORMAT.md has no example of a signature")
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(m[2])), ""))
	pub, err2 := hex.DecodeString(string(m[1]))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	x, err := parseSignature(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Signature{Recovered: true, Key: exampleKey().KeyID(), At: 1000, File: 5<<32 | 2, Count: 4, Link: [32]byte{1}, Index: [32]byte{2},
		Previous: 5<<32 | 1, PreviousLink: [32]byte{3}, Sig: x.Sig}
	if *x != want {
		t.Errorf("%+v", x)
	}
	if !ed25519.Verify(pub, signedBytes(b), x.Sig[:]) {
		t.Error("the signature is wrong")
	}
}

// TestFormatExample decodes the ledger that FORMAT.md shows.
func TestFormatExample(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```ledger\n(.*?)```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("FORMAT.md has no example of a ledger")
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(m[1])), ""))
	if err != nil {
		t.Fatal(err)
	}
	if want := sampleLedger(); !bytes.Equal(b, want) {
		t.Fatalf("the example should be\n%x", want)
	}
}

func TestGaps(t *testing.T) {
	sec := func(n int) media.Wall { return media.Wall(n) * media.Wall(time.Second) }
	spans := []media.Span{{From: sec(0), To: sec(10)}, {From: sec(20), To: sec(30)}, {From: sec(30) + 50e6, To: sec(40)}}
	for _, c := range []struct {
		name  string
		facts []fact
		want  []Gap
	}{
		{"nothing known", nil, []Gap{{media.Span{From: sec(10), To: sec(20)}, "open", GapUnknown}}},
		{"mark at the edge", []fact{{Type: factMark, At: sec(10), Cause: GapCameraLost}}, []Gap{{media.Span{From: sec(10), To: sec(20)}, "open", GapCameraLost}}},
		{"mark of an earlier hole", []fact{{Type: factMark, At: sec(5), Cause: GapCameraLost}}, []Gap{{media.Span{From: sec(10), To: sec(20)}, "open", GapUnknown}}},
		{"cause changes", []fact{{Type: factMark, At: sec(10), Cause: GapCameraLost}, {Type: factMark, At: sec(15), Cause: GapDisabled}},
			[]Gap{{media.Span{From: sec(10), To: sec(15)}, "open", GapCameraLost}, {media.Span{From: sec(15), To: sec(20)}, "open", GapDisabled}}},
		{"loss inside", []fact{{Type: factGap, At: sec(3), Until: sec(4), Cause: GapDriver}},
			[]Gap{{media.Span{From: sec(3), To: sec(4)}, "open", GapDriver}, {media.Span{From: sec(10), To: sec(20)}, "open", GapUnknown}}},
		{"gap record over the hole", []fact{{Type: factGap, At: sec(10), Until: sec(20), Cause: GapServerDown}}, []Gap{{media.Span{From: sec(10), To: sec(20)}, "open", GapServerDown}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := gaps(media.Span{From: 0, To: sec(40)}, spans, c.facts); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v instead of %v", got, c.want)
			}
		})
	}
}

func FuzzFileHeader(f *testing.F) {
	f.Add(AppendFileHeader(nil, sampleHeader()))
	hidden := sampleHeader()
	hidden.Features, hidden.Encryption = featureEncrypted, &Encryption{Key: KeyID{1}, Day: 2}
	f.Add(AppendFileHeader(nil, hidden))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseFileHeader(b); err == nil {
			h.Unreadable = false
			if _, err := ParseFileHeader(AppendFileHeader(nil, h)); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	b := AppendIndex(nil, sampleIndex())
	f.Add(b, uint8(0), 40)
	f.Add(b[:100], uint8(1), 0)
	f.Fuzz(func(t *testing.T, b []byte, v uint8, at int) {
		ParseIndex(b, true)
		// Behind the checksum: what a liar with the right CRC may write.
		if at >= 0 && at < len(b)-trailerSize && len(b) > boxCommon+trailerSize {
			b = bytes.Clone(b)
			b[at] = v
			mendIndex(b)
			if x, err := ParseIndex(b, true); err == nil {
				for i := range x.Layout.Segments {
					x.Layout.Bytes(x.Layout.Segments[i])
				}
			}
			ParseIndex(b, false)
		}
	})
}

func FuzzSegmentTable(f *testing.F) {
	f.Add(appendSegTable(nil, 5, rowsOf(&sampleIndex().Layout)))
	f.Fuzz(func(t *testing.T, b []byte) { parseSegTable(b, 0) })
}

func FuzzSignature(f *testing.F) {
	f.Add(make([]byte, signSize))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = parseSignature(b) })
}

func FuzzLedger(f *testing.F) {
	f.Add(sampleLedger())
	f.Fuzz(func(t *testing.T, b []byte) {
		if good, err := parseLedger(b, func(fact) {}); err == nil && good > len(b) {
			t.Error(good)
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add(AppendFileHeader([]byte("\x00\x00\x00\x08ftyp\x00\x00\x00\x08moov"), sampleHeader()))
	f.Fuzz(func(t *testing.T, b []byte) { parseHead(bytes.NewReader(b), int64(len(b))) })
}
