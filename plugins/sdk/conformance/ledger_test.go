package conformance

import (
	"bytes"
	"crypto/sha1"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"media-server/plugins/sdk/pb"
)

// The Python driver, playing a clip and making metadata and G.711, feeds cores
// that are killed again and again. What the cores hold afterwards is held
// against the ledger of what was sent: nothing lost, doubled or altered.
func TestPythonSurvivesKilledCores(t *testing.T) {
	t.Parallel()
	driver := pythonDriver(t)
	dir := t.TempDir()
	clip := filepath.Join(dir, "clip.h264")
	if out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=25", "-frames:v", "50",
		"-c:v", "libx264", "-bf", "0", "-g", "25", "-bsf:v", "dump_extra", "-f", "h264", clip).CombinedOutput(); err != nil {
		t.Fatalf("needs the Debian package ffmpeg: %v %s", err, out)
	}
	p, err := start(t.Context(), &Options{Command: []string{"/usr/bin/python3", driver}, Dir: filepath.Dir(driver)}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 0))
	cams := []*ledgerCamera{
		{uid: "clip", o: Options{URL: "clock://clip", Settings: map[string]string{"clip": clip, "ledger": filepath.Join(dir, "clip.csv")}}},
		{uid: "made", o: Options{URL: "clock://made", Settings: map[string]string{"ledger": filepath.Join(dir, "made.csv")}}},
	}
	for epoch := uint64(1); epoch <= 6; epoch++ {
		c, err := connect(t.Context(), p.conn, epoch, 15*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for i, cam := range cams {
			cam.rewind(rng) // units that were not yet durable die with the core
			cam.w = c.watch(uint32(i + 1))
			c.subscribe(uint32(i+1), &cam.o, cam.uid, cam.held()...)
		}
		for until := time.Now().Add(time.Duration(300+rng.IntN(500)) * time.Millisecond); time.Now().Before(until); {
			m, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			for _, cam := range cams {
				if err := cam.take(c, m); err != nil {
					t.Fatalf("seed %d, epoch %d, %s: %v", seed, epoch, cam.uid, err)
				}
			}
		}
		c.close()
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
	}
	for _, cam := range cams {
		cam.judge(t)
	}
}

// ledgerCamera is what the cores of the test hold of a camera.
type ledgerCamera struct {
	uid   string
	o     Options
	w     *watch
	run   []byte
	units map[uint32][]*pb.Unit // per track, in order
	acked map[uint32]int
}

// take files units as a core does; watch has already judged their order.
func (l *ledgerCamera) take(c *core, m *pb.FramesReply) error {
	if err := l.w.take(m); err != nil {
		return err
	}
	if o := m.GetOpened(); o != nil && o.Handle == l.w.handle {
		if l.run != nil && !bytes.Equal(l.run, o.Run) {
			return fmt.Errorf("a new run")
		}
		if l.run == nil {
			l.run, l.units, l.acked = o.Run, map[uint32][]*pb.Unit{}, map[uint32]int{}
		}
		for _, f := range o.First {
			if int(f.Next) != len(l.units[f.Track]) {
				return fmt.Errorf("track %d goes on at %d, %d are held", f.Track, f.Next, len(l.units[f.Track]))
			}
		}
	}
	for _, u := range m.GetBatch().GetUnits() {
		if u.Handle != l.w.handle {
			continue
		}
		l.units[u.Track] = append(l.units[u.Track], u)
		if n := len(l.units[u.Track]); n%10 == 0 { // durable a little later than received
			l.acked[u.Track] = n - 5
			c.send(&pb.FramesRequest{Message: &pb.FramesRequest_Ack{Ack: &pb.Ack{Handle: u.Handle, Position: &pb.RunPosition{
				Run: l.run, Tracks: []*pb.TrackPosition{{Track: u.Track, Next: uint64(n - 5)}},
			}}}})
		}
	}
	return nil
}

func (l *ledgerCamera) rewind(rng *rand.Rand) {
	for track, u := range l.units {
		l.units[track] = u[:l.acked[track]+rng.IntN(len(u)-l.acked[track]+1)]
	}
}

func (l *ledgerCamera) held() []*pb.RunPosition {
	if l.run == nil {
		return nil
	}
	p := &pb.RunPosition{Run: l.run}
	for track, u := range l.units {
		p.Tracks = append(p.Tracks, &pb.TrackPosition{Track: track, Next: uint64(len(u))})
	}
	return []*pb.RunPosition{p}
}

func (l *ledgerCamera) judge(t *testing.T) {
	f, err := os.Open(l.o.Settings["ledger"])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	letters := map[string]uint32{"v": 1, "d": 1, "a": 2}
	sent := map[uint32]int{}
	for _, row := range rows {
		track := letters[row[1]]
		n, _ := strconv.Atoi(row[2])
		if n != sent[track] {
			t.Fatalf("%s: the ledger jumps from %d to %d", l.uid, sent[track], n)
		}
		sent[track]++
		if n >= len(l.units[track]) {
			continue // sent after the last core was killed
		}
		u := l.units[track][n]
		if sum := sha1.Sum(u.Payload); hex.EncodeToString(sum[:]) != row[6] {
			t.Errorf("%s track %d: unit %d is not what was sent", l.uid, track, n)
		}
		if stamp := fmt.Sprintf("MSL1:%s:%s:%d:%s;", row[0], row[1], n, row[3]); !bytes.Contains(u.Payload, []byte(stamp)) {
			t.Errorf("%s track %d: unit %d lacks %s", l.uid, track, n, stamp)
		}
		if at, _ := strconv.ParseUint(row[3], 10, 64); u.ReceivedTime != at {
			t.Errorf("%s track %d: unit %d has another time", l.uid, track, n)
		}
	}
	if len(l.units) == 0 {
		t.Errorf("%s: no core ever got a unit", l.uid)
	}
	for track, u := range l.units {
		if len(u) < 10 || len(u) > sent[track] {
			t.Errorf("%s track %d: %d units held, %d sent", l.uid, track, len(u), sent[track])
		}
	}
}
