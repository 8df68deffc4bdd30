package export

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/plugins/sim/clip"
)

// oneKey is the key of every day.
type oneKey struct{}

func (oneKey) ForDay(string, uint32) (archive.KeyID, [32]byte, <-chan struct{}, error) {
	return archive.KeyID{7}, [32]byte{9}, nil, nil
}
func (oneKey) Key(archive.KeyID) ([32]byte, error) { return [32]byte{9}, nil }
func (oneKey) Gone(string) []archive.KeyID         { return nil }

// TestEncrypted: an export of footage that lies encrypted is clear, and its
// proof leads to the chain over what is stored: places and times are the
// recording's, the frames' own bytes the server's word. A frame altered in the
// export is found.
func TestEncrypted(t *testing.T) {
	r := newRigWith(t, true, func(o *archive.Options) { o.Keys, o.Pools[0].Encrypt = oneKey{}, true })
	r.record(1, 0, 14*time.Second, false, clip.H264, clip.AAC)
	x := r.export(4*time.Second, 9*time.Second)

	rep := verify(t, x.file, x.proof)
	if !rep.Identical || !rep.Sound || len(rep.Findings) != 0 || len(rep.Tracks) != 2 || !strings.Contains(text(rep), "stored encrypted") {
		t.Fatalf("%s", text(rep))
	}
	for _, s := range rep.Sources {
		if !s.Stored || !s.Proven || s.State != stateSigned {
			t.Errorf("%+v", s)
		}
	}
	for _, k := range rep.Tracks {
		if k.Recorded != k.Frames || k.Frames == 0 {
			t.Errorf("%+v", k)
		}
	}
	b, err := os.ReadFile(x.file)
	if err != nil {
		t.Fatal(err)
	}
	v := video(t, b)
	marker := bytes.Repeat([]byte{0x5a}, 16)
	if !bytes.Contains(b, marker) {
		t.Error("the export is not clear")
	}
	for _, f := range r.files("") {
		if stored, err := os.ReadFile(f); err != nil || bytes.Contains(stored, marker) {
			t.Errorf("%s is not encrypted: the test proves nothing (%v)", f, err)
		}
	}
	s := v.samples[len(v.samples)/2]
	b[s.at+9] ^= 1
	write(t, x.file, b)
	if rep := verify(t, x.file, x.proof); len(rep.Findings) != 1 || rep.Tracks[0].Altered != 1 {
		t.Errorf("a frame altered: %s", text(rep))
	}
}
