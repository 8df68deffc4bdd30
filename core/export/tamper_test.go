package export

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"media-server/plugins/sim/clip"
)

// tampering is what somebody does to an export and its proof, and what has to
// be found.
type tampering struct {
	name  string
	file  func(t *testing.T, b []byte) []byte // nil: as it is
	proof func(t *testing.T, s string) string
	key   ed25519.PublicKey
	found string // in a finding; "" = there is none
	clean int    // findings: at most so many
	also  func(t *testing.T, r *Report)
}

// video is the picture track of an MP4.
func video(t *testing.T, b []byte) *movieTrack {
	t.Helper()
	m, err := readMovie(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.tracks {
		if m.tracks[i].kind.String() == "video" {
			return &m.tracks[i]
		}
	}
	t.Fatal("no video")
	return nil
}

// sign signs a proof anew that was edited, as somebody does who has the key.
func sign(s string) string {
	body := s[:strings.Index(s, "signature ")]
	sum := sha256.Sum256([]byte(body))
	return body + "signature " + b64(signerOf(1).Sign(append([]byte(message), sum[:]...))) + "\n"
}

func edit(old, anew string) func(*testing.T, string) string {
	return func(t *testing.T, s string) string {
		t.Helper()
		if !strings.Contains(s, old) {
			t.Fatalf("the proof has no %q", old)
		}
		return strings.Replace(s, old, anew, 1)
	}
}

// unitOf is the 1st, 2nd, … line of the proof that begins so.
func lineOf(s, begin string, n int) string {
	for line := range strings.Lines(s) {
		if strings.HasPrefix(line, begin) {
			if n--; n < 0 {
				return line
			}
		}
	}
	return ""
}

const hit = 100 // the sample that is tampered with

func TestTampering(t *testing.T) {
	r := newRig(t, true)
	r.record(1, 0, 14*time.Second, false, clip.H264, clip.AAC)
	x := r.export(time.Second, 13*time.Second)
	other := r.export(2*time.Second, 4*time.Second)
	otherProof, err := os.ReadFile(other.proof)
	if err != nil {
		t.Fatal(err)
	}
	// The stamped picture shown at sample 100 from 0 s (a clip is 50 samples long).
	all := func(t *testing.T, r *Report) {
		for _, k := range r.Tracks {
			if k.Recorded != k.Frames || k.Signed != k.Frames {
				t.Errorf("%+v", k)
			}
		}
	}
	one := func(what func(k *Track) int) func(*testing.T, *Report) {
		return func(t *testing.T, r *Report) {
			v := &r.Tracks[0]
			if what(v) != 1 || v.Recorded != v.Frames-1 || r.Identical {
				t.Errorf("%+v", v)
			}
		}
	}
	for _, c := range []tampering{
		{name: "nothing", also: all},
		{name: "a byte of a frame", found: "altered", clean: 1, also: one(func(k *Track) int { return k.Altered }), file: func(t *testing.T, b []byte) []byte {
			s := video(t, b).samples[hit]
			b[s.at+int64(s.size)/2] ^= 1
			return b
		}},
		{name: "two frames swapped", found: "at another place", clean: 2, also: one(func(k *Track) int { return k.Moved }), file: swapped},
		{name: "the tail cut", found: "cut off", file: func(_ *testing.T, b []byte) []byte { return b[:len(b)*3/4] }},
		{name: "cut within its tables", found: "cut off", file: func(_ *testing.T, b []byte) []byte { return b[:2000] }},
		{name: "a byte between the frames", also: func(t *testing.T, r *Report) {
			if all(t, r); r.Identical {
				t.Error("it counts as identical")
			}
		}, file: func(t *testing.T, b []byte) []byte { b[video(t, b).samples[0].at-9-20] ^= 1; return b }},
		{name: "the speed", found: "off their time", file: func(t *testing.T, b []byte) []byte {
			i := bytes.Index(b, []byte("stts"))
			binary.BigEndian.PutUint32(b[i+16:], binary.BigEndian.Uint32(b[i+16:])*2)
			return b
		}},
		{name: "the decoder's parameters", found: "parameters", clean: 1, file: func(t *testing.T, b []byte) []byte {
			i := bytes.Index(b, []byte("avcC"))
			b[i+4+8+5] ^= 1
			return b
		}},
		{name: "reason edited", found: "changed after it was made", clean: 1, proof: edit("theft of", "loss of"), also: all},
		{name: "asked range edited", found: "changed after it was made", proof: edit("asked = 2", "asked = 1")},
		{name: "exporter edited", found: "changed after it was made", proof: edit(`"anna"`, `"otto"`)},
		{name: "proof of another export", found: "none of", proof: func(*testing.T, string) string { return string(otherProof) },
			file: func(*testing.T, []byte) []byte {
				b, _ := os.ReadFile(r.export(8*time.Second, 10*time.Second).file)
				return b
			}},
		{name: "wrong key", found: "key fa4d86c3b551aa6c, which was not given", key: signerOf(2).public()},
		{name: "signed with another's key", found: "is wrong", proof: func(t *testing.T, s string) string {
			return strings.Replace(s, lineOf(s, "signature ", 0)[10:20], "AAAAAAAAAA", 1)
		}},
		{name: "a frame altered and its hashes too, by the server", found: "does not lead to what was signed", proof: func(t *testing.T, s string) string {
			return sign(strings.Replace(s, strings.Fields(lineOf(s, "u ", hit))[5], b64(make([]byte, 32)), 1))
		}},
		{name: "a time in the proof, by the server", found: "another content or time", proof: func(t *testing.T, s string) string {
			old := lineOf(s, "u ", hit)
			f := strings.Fields(old)
			f[2] = f[2] + "0"
			return sign(strings.Replace(s, old, strings.Join(f, " ")+"\n", 1))
		}},
		{name: "a fragment that was not exported, by the server", found: "does not lead to", proof: func(t *testing.T, s string) string {
			return sign(strings.Replace(s, lineOf(s, "n ", 1), "", 1))
		}},
		{name: "called unsigned, by the server", found: "its own head says otherwise", proof: func(t *testing.T, s string) string {
			s = regexp.MustCompile(`(?m)^s .*\n`).ReplaceAllString(strings.ReplaceAll(s, " signed ", " unsigned "), "")
			return sign(regexp.MustCompile(`(?m)^([ux] .*) \S+$`).ReplaceAllString(s, "$1 -"))
		}},
		{name: "called stored otherwise, by the server", found: "its own head says otherwise", proof: func(_ *testing.T, s string) string {
			return sign(strings.ReplaceAll(s, " signed exported\n", " signed stored\n"))
		}},
		{name: "a header in the proof, by the server", found: "the header of the fragment", proof: func(t *testing.T, s string) string {
			return sign(strings.Replace(s, strings.Fields(lineOf(s, "f ", 3))[5], b64(make([]byte, 32)), 1))
		}},
		{name: "when the recording was signed, by somebody else", found: "the signature of its recording is wrong", proof: boxed(func(b []byte) { b[45] ^= 1 }, nil)},
		{name: "the file before, by the server", found: "followed another one", proof: boxed(func(b []byte) { b[140] ^= 1 }, signerOf(1).Sign)},
		{name: "signatures exchanged, by the server", found: "the signature is that of file", proof: func(t *testing.T, s string) string {
			a, b := lineOf(s, "s ", 1), lineOf(s, "s ", 2)
			return sign(strings.NewReplacer(a, b, b, a).Replace(s))
		}},
		{name: "another stream, by the server", found: "of stream gate by its own head", proof: func(_ *testing.T, s string) string {
			return sign(strings.Replace(s, "stream = gate", "stream = yard", 1))
		}},
		{name: "another file's id, by the server", found: "of stream gate by its own head", proof: func(_ *testing.T, s string) string {
			return sign(strings.Replace(s, "\nfile 0000000100000003", "\nfile 0000000100000099", 1))
		}},
		{name: "tables that name the same bytes again and again", found: "overlap", file: func(t *testing.T, b []byte) []byte {
			i := bytes.Index(b, []byte("stsz")) + 16
			for k := range len(video(t, b).samples) {
				binary.BigEndian.PutUint32(b[i+4*k:], uint32(len(b)/10))
			}
			return b
		}},
		{name: "a file kept back, by the server", found: "recorded nowhere", proof: withoutFile},
		{name: "the proof's tail cut", found: "without a signature", proof: func(_ *testing.T, s string) string { return s[:strings.Index(s, "signature ")] }},
		{name: "the proof's end cut within a line", found: "cut short", proof: func(_ *testing.T, s string) string { return s[:len(s)-9] }},
		{name: "a line put behind the signature", found: "behind the signature", proof: func(_ *testing.T, s string) string { return s + "n\n" }},
		{name: "another file than a proof", found: "no proof", proof: func(*testing.T, string) string { return "hello\n" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := os.ReadFile(x.file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := os.ReadFile(x.proof)
			if err != nil {
				t.Fatal(err)
			}
			if c.file != nil {
				b = c.file(t, b)
			}
			if c.proof != nil {
				p = []byte(c.proof(t, string(p)))
			}
			file := filepath.Join(t.TempDir(), "export.mp4")
			write(t, file, b)
			write(t, file+Suffix, p)
			var ks []ed25519.PublicKey
			if c.key != nil {
				ks = append(ks, c.key)
			}
			r := verify(t, file, file+Suffix, ks...)
			t.Log("\n" + text(r))
			n := 0
			for _, f := range r.Findings {
				if strings.Contains(f.What, c.found) {
					n++
				}
			}
			if c.found == "" && len(r.Findings) > 0 || c.found != "" && n == 0 || c.clean > 0 && len(r.Findings) > c.clean {
				t.Errorf("findings: %+v", r.Findings)
			}
			if c.also != nil {
				c.also(t, r)
			}
		})
	}
}

// boxed changes the signature box of the second file, its checksum and, with
// key, its signature.
func boxed(change func(b []byte), key func([]byte) []byte) func(*testing.T, string) string {
	return func(t *testing.T, s string) string {
		t.Helper()
		old := lineOf(s, "s ", 1)
		b, err := strict.DecodeString(strings.TrimSpace(old[2:]))
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		if key != nil {
			m := append([]byte("MSSIGN1\n"), b[:164]...)
			clear(m[8+28 : 8+32])
			copy(b[164:], key(m))
		}
		binary.BigEndian.PutUint32(b[28:], crc32.Checksum(b[32:], crc32.MakeTable(crc32.Castagnoli)))
		return sign(strings.Replace(s, old, "s "+b64(b)+"\n", 1))
	}
}

// swapped exchanges two neighbouring frames, their sizes too.
func swapped(t *testing.T, b []byte) []byte {
	v := video(t, b)
	x, y := v.samples[hit], v.samples[hit+1]
	if x.at+int64(x.size) != y.at {
		t.Fatal("they are no neighbours")
	}
	two := append(bytes.Clone(b[y.at:y.at+int64(y.size)]), b[x.at:x.at+int64(x.size)]...)
	copy(b[x.at:], two)
	i := bytes.Index(b, []byte("stsz")) + 16 + 4*hit
	binary.BigEndian.PutUint32(b[i:], y.size)
	binary.BigEndian.PutUint32(b[i+4:], x.size)
	return b
}

// withoutFile leaves one of the recording's files out of the proof.
func withoutFile(t *testing.T, s string) string {
	blocks := strings.Split(s, "\nfile ")
	n := strings.Count(blocks[3], "\nu ")
	files := len(blocks) - 1
	s = strings.Join(append(blocks[:3:3], blocks[4:]...), "\nfile ")
	s = strings.Replace(s, fmt.Sprintf("files = %d\n", files), fmt.Sprintf("files = %d\n", files-1), 1)
	var frames int
	fmt.Sscanf(lineOf(s, "end ", 0), "end %d %d", new(int), &frames)
	return sign(strings.Replace(s, fmt.Sprintf("end %d %d ", files, frames), fmt.Sprintf("end %d %d ", files-1, frames-n), 1))
}

func ffmpeg(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("needs the Debian package ffmpeg (scripts/setup.sh installs it)")
	}
	if out, err := exec.Command("ffmpeg", append([]string{"-v", "error", "-y"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, out)
	}
}

// TestClips: what others cut out of an export without encoding it anew verifies
// frame by frame; what they encode, drop or join is told.
func TestClips(t *testing.T) {
	r := newRig(t, true)
	r.record(1, 0, 14*time.Second, false, clip.H264, clip.AAC)
	x := r.export(time.Second, 13*time.Second)
	for _, c := range []struct {
		name  string
		args  []string
		found string
		also  func(t *testing.T, r *Report)
	}{
		{"cut", []string{"-ss", "3", "-t", "5", "-i", x.file, "-c", "copy"}, "", func(t *testing.T, r *Report) {
			for _, k := range r.Tracks {
				if k.Recorded != k.Frames || k.Signed != k.Frames || k.Before == 0 || k.After == 0 || k.Frames < 100 {
					t.Errorf("%+v", k)
				}
				// The clip begins at the key frame at or before 3 s into the export.
				if d := k.Span.From.Sub(at(4 * time.Second)); d < -2100*time.Millisecond || d > 100*time.Millisecond {
					t.Errorf("%s begins at %v", k.Kind, k.Span.From.Time())
				}
			}
		}},
		{"rewrapped", []string{"-i", x.file, "-c", "copy", "-movflags", "faststart"}, "", func(t *testing.T, r *Report) {
			for _, k := range r.Tracks {
				if k.Recorded != k.Frames || k.Before+k.After != 0 {
					t.Errorf("%+v", k)
				}
			}
		}},
		{"without sound", []string{"-i", x.file, "-c", "copy", "-an"}, "", func(t *testing.T, r *Report) {
			if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "audio of the export is not in this file") {
				t.Errorf("%q", r.Notes)
			}
		}},
		{"a frame dropped", []string{"-i", x.file, "-c", "copy", "-bsf:v", "noise=amount=0:drop=eq(n\\,100)"}, "1 video frame: missing", func(t *testing.T, r *Report) {
			if v := r.Tracks[0]; v.Missing != 1 || v.Recorded != v.Frames || len(r.Findings) != 1 || r.Findings[0].From == 0 {
				t.Errorf("%+v %+v", v, r.Findings)
			}
		}},
		{"encoded anew", []string{"-i", x.file, "-c:v", "mpeg4", "-c:a", "copy"}, "encoded anew", func(t *testing.T, r *Report) {
			if v := r.Tracks[0]; v.Recorded != 0 || v.Foreign != v.Frames {
				t.Errorf("%+v", v)
			}
			if a := r.Tracks[1]; a.Recorded != a.Frames {
				t.Errorf("%+v", a)
			}
		}},
		{"fragmented", []string{"-i", x.file, "-c", "copy", "-movflags", "frag_keyframe+empty_moov"}, "fragmented MP4", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "clip.mp4")
			ffmpeg(t, append(c.args, out)...)
			rep := verify(t, out, x.proof)
			t.Log("\n" + text(rep))
			if rep.Identical {
				t.Error("identical")
			}
			if c.found == "" && len(rep.Findings) > 0 || c.found != "" && (len(rep.Findings) == 0 || !strings.Contains(rep.Findings[0].What, c.found)) {
				t.Errorf("findings: %+v", rep.Findings)
			}
			if c.also != nil {
				c.also(t, rep)
			}
		})
	}
}

// TestNotSigned: what no signature covers is said to rest on the server's word.
func TestNotSigned(t *testing.T) {
	t.Run("never signed", func(t *testing.T) {
		r := newRig(t, false)
		r.record(1, 0, 6*time.Second, false, clip.H264)
		x := r.export(time.Second, 5*time.Second)
		rep := verify(t, x.file, x.proof)
		if !rep.Identical || len(rep.Findings) != 0 || rep.Tracks[0].Signed != 0 || rep.Tracks[0].Recorded != rep.Tracks[0].Frames ||
			!strings.Contains(text(rep), "never signed") || !strings.Contains(text(rep), "server's statement alone") {
			t.Errorf("%s", text(rep))
		}
	})
	t.Run("still growing", func(t *testing.T) {
		r := newRig(t, true)
		r.record(1, 0, 6*time.Second, true, clip.H264)
		x := r.export(time.Second, 6*time.Second)
		rep := verify(t, x.file, x.proof)
		last := rep.Sources[len(rep.Sources)-1]
		if v := rep.Tracks[0]; !rep.Identical || len(rep.Findings) != 0 || last.State != stateUnsealed || last.Frames == 0 ||
			v.Signed != v.Frames-last.Frames || v.Recorded != v.Frames || !strings.Contains(text(rep), "not closed and signed yet") {
			t.Errorf("%+v\n%s", rep.Tracks, text(rep))
		}
		// A frame of it altered is found all the same: the proof's signature has its hash.
		b, _ := os.ReadFile(x.file)
		v := video(t, b)
		s := v.samples[len(v.samples)-5]
		b[s.at+9] ^= 1
		write(t, x.file, b)
		if rep := verify(t, x.file, x.proof); len(rep.Findings) != 1 || rep.Tracks[0].Altered != 1 {
			t.Errorf("%s", text(rep))
		}
	})
}

// TestOtherKey: a recording was signed with a key that is not in force any more
// when it is exported.
func TestOtherKey(t *testing.T) {
	r := newRig(t, true)
	r.record(1, 0, 4*time.Second, false, clip.H264)
	r.signer = signerOf(2)
	x := r.export(0, 3*time.Second)
	if rep := verify(t, x.file, x.proof, signerOf(1).public(), signerOf(2).public()); len(rep.Findings) != 0 || !rep.Sound || rep.Tracks[0].Signed != rep.Tracks[0].Frames {
		t.Errorf("both keys:\n%s", text(rep))
	}
	rep := verify(t, x.file, x.proof, signerOf(2).public())
	if !rep.Sound || len(rep.Findings) == 0 || !strings.Contains(rep.Findings[0].What, "its recording was signed with key fa4d86c3b551aa6c, which was not given") || rep.Tracks[0].Signed != 0 {
		t.Errorf("the new key:\n%s", text(rep))
	}
	rep = verify(t, x.file, x.proof, signerOf(1).public())
	if rep.Sound || len(rep.Findings) != 1 || rep.Tracks[0].Signed != rep.Tracks[0].Frames {
		t.Errorf("the old key:\n%s", text(rep))
	}
}
