package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/test/bench/cameras"
)

// spanOf is a stream of the archive: hours of files of 60 s. thin ones have
// pictures of 30 bytes and sound of 12, at the true rates, so that tables are
// as long as ever and a month fits on a disk; thick is the cameras' clip.
type spanOf struct {
	UID   string
	Label string
	Hours float64
	Thick bool
}

func (b *bench) footages() []spanOf {
	return []spanOf{
		{"d1", "1 day", pick(b, 25.0, 1.5), false},
		{"d7", "7 days", pick(b, 7*24.0, 3.0), false},
		{"d30", "30 days", pick(b, 30*24.0, 6.0), false},
		{"thick", "2 Mbit/s", pick(b, 0.25, 0.25), true},
	}
}

// madeArchive tells of an archive that was made; it is kept for later runs.
type madeArchive struct {
	dir   string
	From  map[string]int64 // first footage, Unix ms
	To    map[string]int64
	Files int
	Took  float64 // seconds
	Bytes int64
}

// archive makes the archive, or takes the one that is there.
func (b *bench) archive(ctx context.Context) (*madeArchive, error) {
	dir := filepath.Join(b.keep, pick(b, "archive", "archive-quick"))
	m := &madeArchive{dir: dir, From: map[string]int64{}, To: map[string]int64{}}
	if text, err := os.ReadFile(filepath.Join(dir, "made.json")); err == nil {
		return m, json.Unmarshal(text, m)
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return nil, err
	}
	// The real storage makes the space; footage is written past it, by the
	// archive's own recorder, and then moved in.
	s, err := b.reader(dir, nil)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.run)
	if _, err := s.start(ctx); err != nil {
		return nil, err
	}
	s.stop()
	begin := time.Now()
	filling := filepath.Join(dir, "filling")
	if err := os.Mkdir(filling, 0o755); err != nil {
		return nil, err
	}
	if err := b.fill(ctx, m, filling); err != nil {
		return nil, fmt.Errorf("make the archive: %w", err)
	}
	m.Took = time.Since(begin).Seconds()
	// The storage of tests marks a space otherwise than the real one: the
	// footage alone goes over.
	for _, f := range b.footages() {
		if err := os.Rename(filepath.Join(filling, f.UID), filepath.Join(s.space, f.UID)); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(filling); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(s.space, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".mp4" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			m.Files++
			m.Bytes += info.Size()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	text, _ := json.Marshal(m)
	return m, os.WriteFile(filepath.Join(dir, "made.json"), text, 0o644)
}

// reader is a server over an archive that lies in dir; it captures nothing and
// deletes nothing.
func (b *bench) reader(dir string, streams []spanOf) (*server, error) {
	s, err := b.newServer(options{dir: filepath.Join(dir, "server"), space: filepath.Join(dir, "space"),
		ini: "[pool.default]\nspaces = main\noverwrite = false\noverwrite-free = 0\nalarm-free = 0\n"})
	if err != nil {
		return nil, err
	}
	for _, f := range streams {
		if err := s.stream(f.UID, "stream-url = rtsp://127.0.0.1/none", "stream-enable = false", "dvr-duration = 0"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (b *bench) fill(ctx context.Context, m *madeArchive, space string) error {
	clip, err := cameras.Load(ctx, b.keep)
	if err != nil {
		return err
	}
	data := filepath.Join(b.work, "made")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	a, err := archive.Open(ctx, archive.Options{DataDir: data, Epoch: 1, Program: "bench", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Spaces: []archive.Space{{Name: "main", Storage: storagetest.New(space), Create: true}}, Pools: []archive.Pool{{Name: "default", Spaces: []string{"main"}}},
		WriteBuffer: 9 * time.Minute, WriteBufferMax: 4 << 30})
	if err != nil {
		return err
	}
	var running, feeding sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	defer a.Close()
	defer running.Wait()
	defer stop()
	end := time.Now().Truncate(time.Minute).Add(-time.Hour)
	var mu sync.Mutex
	var failed error
	for i, f := range b.footages() {
		from := end.Add(-time.Duration(f.Hours * float64(time.Hour)))
		m.From[f.UID], m.To[f.UID] = from.UnixMilli(), end.UnixMilli()
		feeding.Go(func() {
			if err := feed(ctx, a, clip, f, byte(i+1), from, end); err != nil {
				mu.Lock()
				failed = errors.Join(failed, fmt.Errorf("%s: %w", f.UID, err))
				mu.Unlock()
			}
		})
	}
	feeding.Wait()
	for a.Metrics().Spaces[0].QueueBytes > 0 && failed == nil {
		failed = sleep(ctx, 100*time.Millisecond)
	}
	if failed != nil {
		return failed
	}
	// Sealing is the last thing; what is left open is not counted as footage.
	for range 600 {
		list, err := os.ReadDir(filepath.Join(space, "open"))
		if err != nil || len(list) == 0 {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("files were not sealed within a minute")
}

// feed records a stream, as fast as it is taken.
func feed(ctx context.Context, a *archive.Archive, clip *cameras.Clip, f spanOf, n byte, from, end time.Time) error {
	rec, err := a.Recorder(f.UID, archive.Rules{Chunk: time.Minute})
	if err != nil {
		return err
	}
	defer rec.Close()
	tracks := []media.Track{
		{ID: 1, Codec: media.H264, Timescale: 90000, SPS: clip.SPS, PPS: clip.PPS},
		{ID: 2, Codec: media.AAC, Timescale: cameras.SampleRate, Config: clip.Config, SampleRate: cameras.SampleRate, Channels: 1},
	}
	run := media.RunID{n, 0xbe, 0x4c}
	first := media.WallOf(from)
	zero := mux.Zero(first)
	segment, disc := rec.NextSegment()
	w := mux.NewWriter(mux.Config{Epoch: 1}, mux.Start{Run: run, Zero: zero, Tracks: tracks, Segment: segment, Discontinuity: disc})
	if err := rec.Begin(run, zero, tracks, archive.GapNone); err != nil {
		return err
	}
	put := func(parts []*media.Part) error {
		for _, p := range parts {
			if err := rec.Append(p); err != nil {
				return err
			}
			p.Release()
		}
		return nil
	}
	state := func() []byte { return nil }
	var seq [2]int64
	for last := media.WallOf(end); ; {
		u, wall := unitOf(clip, f.Thick, first, &seq)
		if wall >= last {
			break
		}
		parts, ev, err := w.Write(u, wall, state)
		if err != nil || ev.Dropped != mux.Stored {
			return fmt.Errorf("unit %d of track %d: %v %w", u.Seq, u.Track, ev.Dropped, err)
		}
		if err := put(parts); err != nil {
			return err
		}
		if u.Track == 1 && u.Seq%500 == 0 { // not further ahead of the disk than this
			for a.Metrics().Spaces[0].QueueBytes > 64<<20 {
				if err := sleep(ctx, 5*time.Millisecond); err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	if err := put(w.Flush()); err != nil {
		return err
	}
	rec.End(archive.GapNone)
	return nil
}

// noise is what thin units are made of; it must not look like a NAL's start.
var noise = func() []byte {
	b := make([]byte, 4096)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] |= 1
	}
	return b
}()

// unitOf is the next unit of either track, whichever is earlier.
func unitOf(clip *cameras.Clip, thick bool, first media.Wall, seq *[2]int64) (media.AccessUnit, media.Wall) {
	v := first.Add(time.Duration(seq[0]) * time.Second / cameras.Rate)
	a := first.Add(media.DurationOf(seq[1]*cameras.AUSamples, cameras.SampleRate)) // exact: nanoseconds times ticks overflow after two days
	if a < v {
		n := seq[1]
		seq[1]++
		u := media.AccessUnit{Track: 2, Seq: uint64(n), PTS: n * cameras.AUSamples, Key: true, Payload: noise[n*12%4000:][:12]}
		if thick {
			u.Payload = clip.Frames[n%int64(len(clip.Frames))]
		}
		return u, a
	}
	n := seq[0]
	seq[0]++
	u := media.AccessUnit{Track: 1, Seq: uint64(n), PTS: n * 90000 / cameras.Rate, DTS: n * 90000 / cameras.Rate, HasDTS: true, Key: n%cameras.GOP == 0}
	if thick {
		u.Payload = clip.Pictures[n%int64(len(clip.Pictures))]
		return u, v
	}
	p := binary.BigEndian.AppendUint32(make([]byte, 0, 30), 26)
	if u.Key {
		p = append(p, 0x65)
	} else {
		p = append(p, 0x41)
	}
	u.Payload = append(p, noise[n*25%4000:][:25]...)
	return u, v
}
