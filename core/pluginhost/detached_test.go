package pluginhost

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/media"
)

// core runs a core process of its own; kill -9 ends it.
type coreProcess struct {
	cmd *exec.Cmd
}

func startCore(t *testing.T, c toyCoreConfig) *coreProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := c.Options
	o.Log, o.Notify, o.Events = nil, nil, nil
	c.Options = o
	text, err := json.Marshal(struct {
		Options  coreOptions
		Streams  int
		Progress string
		Mutant   string
	}{coreOptions{o.Dirs, o.RunDir, o.Node, o.Epoch, o.Plugins, o.ScanEvery, o.AckEvery}, c.Streams, c.Progress, c.Mutant})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "TOY_ROLE=core", "TOY_CORE="+string(text), "GORACE=atexit_sleep_ms=0")
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &coreProcess{cmd}
	t.Cleanup(p.kill)
	return p
}

// coreOptions are the options that can be written as JSON.
type coreOptions struct {
	Dirs      []string
	RunDir    string
	Node      string
	Epoch     uint64
	Plugins   map[string]Plugin
	ScanEvery time.Duration
	AckEvery  time.Duration
}

func (p *coreProcess) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// rounds reads how many rounds to play: a few, or what PLUGINHOST_ROUNDS says.
func rounds(few int) int {
	if n, err := strconv.Atoi(os.Getenv("PLUGINHOST_ROUNDS")); err == nil {
		return n
	}
	return few
}

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if v, err := strconv.ParseUint(os.Getenv("PLUGINHOST_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("PLUGINHOST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestNoisyPluginOutlivesItsCores: 1 MB/s on both outputs, and the core is
// killed again and again: it is the same process all the time, it keeps
// printing, and its log stays small.
func TestNoisyPluginOutlivesItsCores(t *testing.T) {
	r := newRig(t)
	r.toy("noisy", "driver", "TOY_NOISE=1")
	rng := seeded(t)
	progress := filepath.Join(shortDir(t), "p")
	pid := 0
	for i := range rounds(10) {
		r.opt.Epoch++
		os.Remove(progress)
		core := startCore(t, toyCoreConfig{Options: r.opt, Progress: progress})
		eventually(t, "the core holds the plugin", func() bool { _, err := os.Stat(progress); return err == nil })
		rec, err := readRecord(pathsOf(r.opt.RunDir, "noisy").record)
		if err != nil {
			t.Fatal(err)
		}
		if pid == 0 {
			pid = rec.PID
		}
		if rec.PID != pid || !alive(pid) {
			t.Fatalf("round %d: pid %d became %d", i, pid, rec.PID)
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		core.kill()
	}
	if !alive(pid) {
		t.Fatal("the plugin ended with its core")
	}
	log := pathsOf(r.opt.RunDir, "noisy").log
	before, _ := os.Stat(log)
	if most := 2 * r.opt.withDefaults().LogMax; before.Size() > most {
		t.Errorf("a log of %d bytes", before.Size())
	}
	eventually(t, "it still prints", func() bool { now, err := os.Stat(log); return err == nil && now.Size() != before.Size() })
}

// TestExactlyOnce: storage stopped, core killed, a new core, storage goes on:
// every unit is in its file once, in order.
func TestExactlyOnce(t *testing.T) {
	if err := exactlyOnce(t, rounds(5), "", ""); err != nil {
		t.Error(err)
	}
}

// TestExactlyOnceCanFail: the same with what the rules forbid must be found:
// a core that acknowledges what is not synced, and a storage that lets bytes
// of a dead core land after a new one has looked.
func TestExactlyOnceCanFail(t *testing.T) {
	err := exactlyOnce(t, 6, "early", "")
	if err == nil {
		t.Error("a core that acknowledges early goes unnoticed")
	}
	t.Log(err)
	for range 3 {
		if err := exactlyOnce(t, 1, "", "late"); err != nil {
			t.Log(err)
			return
		}
	}
	t.Error("a storage that writes late goes unnoticed")
}

func exactlyOnce(t *testing.T, n int, coreMutant, storageMutant string) error {
	r := newRig(t)
	defer StopRecorded(r.opt.RunDir)
	const streams = 50
	dir := shortDir(t)
	r.toy("cams", "driver", "TOY_TICK=10ms")
	r.toy("store", "storage", "TOY_DIR="+dir, "TOY_MUTANT="+storageMutant)
	rng := seeded(t)
	progress := filepath.Join(shortDir(t), "p")
	start := func() *coreProcess {
		r.opt.Epoch++
		os.Remove(progress)
		return startCore(t, toyCoreConfig{Options: r.opt, Streams: streams, Progress: progress, Mutant: coreMutant})
	}
	pause := func(most int) { time.Sleep(time.Duration(rng.IntN(most*1000)) * time.Microsecond) }
	core := start()
	for i := range n {
		eventually(t, fmt.Sprintf("round %d: all streams are stored", i), func() bool { _, err := os.Stat(progress); return err == nil })
		rec, err := readRecord(pathsOf(r.opt.RunDir, "store").record)
		if err != nil {
			return err
		}
		pause(80)
		if storageMutant == "" { // a stopped one would have written by the time it is asked again
			unix.Kill(rec.PID, unix.SIGSTOP)
			pause(120)
		}
		core.kill()
		core = start()
		pause(150)
		unix.Kill(rec.PID, unix.SIGCONT)
		if i%4 == 3 { // and one more core at once
			pause(100)
			core.kill()
			core = start()
		}
		if i%3 == 2 {
			if err := verifyToy(dir, streams); err != nil {
				return fmt.Errorf("round %d: %w", i, err)
			}
		}
	}
	eventually(t, "all streams are stored", func() bool { _, err := os.Stat(progress); return err == nil })
	if storageMutant != "" {
		time.Sleep(lateBy)
	}
	core.kill()
	if err := StopRecorded(r.opt.RunDir); err != nil {
		return err
	}
	return verifyToy(dir, streams)
}

// verifyToy reads the files: one run each, all units from 0, once, in order,
// unchanged. A torn record at the very end is what a kill leaves.
func verifyToy(dir string, streams int) error {
	for i := range streams {
		uid := fmt.Sprintf("cam%02d", i)
		b, err := os.ReadFile(filepath.Join(dir, "open", uid))
		if err != nil {
			return err
		}
		var run media.RunID
		next := uint64(0)
		for rest := b; len(rest) >= 4; {
			n := int(binary.BigEndian.Uint32(rest))
			if n < 24 || n > 10000 {
				return fmt.Errorf("%s: rubbish after unit %d of run %v", uid, next, run)
			}
			if len(rest) < 4+n {
				break
			}
			id, seq, p := media.RunID(rest[4:20]), binary.BigEndian.Uint64(rest[20:28]), rest[28:4+n]
			if id.IsZero() { // header of a part
				rest = rest[4+n:]
				continue
			}
			if run.IsZero() {
				run = id
			}
			if id != run || seq != next {
				return fmt.Errorf("%s: unit %d of run %v where %d of %v was due", uid, seq, id, next, run)
			}
			if len(p) < 4 || crc32.ChecksumIEEE(p[:len(p)-4]) != binary.BigEndian.Uint32(p[len(p)-4:]) || binary.BigEndian.Uint64(p) != seq {
				return fmt.Errorf("%s: unit %d is damaged", uid, seq)
			}
			next++
			rest = rest[4+n:]
		}
		if next < 10 {
			return fmt.Errorf("%s: only %d units", uid, next)
		}
	}
	return nil
}
