package export

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"strings"
	"testing"
	"time"

	"media-server/core/media"
)

// example is the worked example of PROOF.md.
func example(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("PROOF.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```proof\n")
	s, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("PROOF.md has no example")
	}
	return []byte(s)
}

func pub1() map[[8]byte]ed25519.PublicKey {
	return map[[8]byte]ed25519.PublicKey{signerOf(1).KeyID(): signerOf(1).public()}
}

// TestProofExample decodes the example of PROOF.md.
func TestProofExample(t *testing.T) {
	e, err := readProof(bytes.NewReader(example(t)), pub1())
	if err != nil {
		t.Fatal(err)
	}
	start := media.WallOf(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))
	if !e.sound || e.st.UID != "gate" || e.st.Name != "North gate" || e.st.Reason != `theft of a "bicycle"` || e.st.Exporter != "anna" ||
		e.st.Made != start.Add(90*time.Minute) || len(e.st.Gaps) != 1 || e.st.Gaps[0].Why != "camera_lost" || e.st.Gaps[0].Span.To != start || e.st.Size != e.files[0].at+e.files[0].size {
		t.Errorf("%v %q %+v", e.sound, e.why, e.st)
	}
	if len(e.files) != 1 || !e.files[0].proven || e.files[0].fragments != 2 || len(e.lanes) != 1 || len(e.lanes[0].units) != 10 {
		t.Fatalf("%+v", e.files)
	}
	for i := range e.lanes[0].units {
		if w := e.wall(&e.lanes[0].units[i]); w != start.Add(time.Duration(i)*20*time.Millisecond) {
			t.Errorf("unit %d at %v", i, w.Time())
		}
	}
	var r Report
	if r.state(e.st); len(r.Gaps) != 1 || r.Gaps[0] != (Missing{start.Milli() - 2000, start.Milli(), "camera_lost"}) {
		t.Errorf("%+v", r.Gaps)
	}
	if again := e.st.text(); !bytes.HasPrefix(example(t), again) {
		t.Errorf("written again it is\n%s", again)
	}
}

// TestAnyByte: no byte of a proof can be changed unseen. Every byte is tried of
// what the server states and of the end, every seventh between them.
func TestAnyByte(t *testing.T) {
	good := example(t)
	for i := range good {
		if i > 600 && i < len(good)-200 && i%7 != 0 {
			continue
		}
		b := bytes.Clone(good)
		b[i] ^= 1
		if e, err := readProof(bytes.NewReader(b), pub1()); err == nil && e.sound {
			t.Fatalf("byte %d changed (%q) and not seen", i, b[max(0, i-20):i+1])
		}
	}
}

// FuzzProof: whatever stands in a proof, reading it ends, without a panic, and
// what it takes for sound was signed.
func FuzzProof(f *testing.F) {
	good := example(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(sign(strings.Replace(string(good), " signed ", " unsealed ", 1))))
	f.Add([]byte(firstLine + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := readProof(bytes.NewReader(b), pub1())
		if err == nil && e.sound && !bytes.Equal(b, good) && !bytes.Contains(b, []byte(" unsealed ")) {
			t.Fatal("it is sound, and is not the one that was signed")
		}
		if err == nil {
			r := &Report{}
			r.state(e.st)
			r.sources(e)
			r.Lines(time.UTC)
		}
	})
}

// FuzzMovie: whatever a file's tables say, reading them ends, in memory bounded
// by the file.
func FuzzMovie(f *testing.F) {
	r := newRig(f, true)
	r.record(1, 0, 2*time.Second, false, "h264", "aac")
	x := r.export(0, time.Second)
	b, err := os.ReadFile(x.file)
	if err != nil {
		f.Fatal(err)
	}
	e := evidenceOf(f, x.proof)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMovie(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		r := &Report{}
		if err := r.movie(e, m, bytes.NewReader(b), int64(len(b))); err == nil {
			r.Lines(time.UTC)
		}
	})
}

func evidenceOf(t testing.TB, proof string) *evidence {
	t.Helper()
	p, err := os.Open(proof)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e, err := readProof(p, pub1())
	if err != nil {
		t.Fatal(err)
	}
	return e
}
