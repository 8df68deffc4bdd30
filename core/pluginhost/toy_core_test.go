package pluginhost

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/stream"
)

// toyCoreConfig is what a test gives to a core process, as JSON in TOY_CORE.
type toyCoreConfig struct {
	Options  Options
	Streams  int
	Progress string // file that gets the state once a while
	Mutant   string // early: acknowledge before it is synced
}

// toyCore is a whole server in small: 50 streams, one file each, a part every
// 50 ms, acknowledged when synced, resumed from what storage holds.
func toyCore() {
	var c toyCoreConfig
	if err := json.Unmarshal([]byte(os.Getenv("TOY_CORE")), &c); err != nil {
		panic(err)
	}
	c.Options.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h := New(c.Options)
	go h.Run(context.Background())
	if c.Streams == 0 {
		for range time.Tick(5 * time.Millisecond) {
			all := len(h.Plugins()) > 0
			for _, p := range h.Plugins() {
				all = all && p.State == StateServing
			}
			if all {
				writeProgress(c.Progress, h.Plugins())
			}
		}
	}
	dialer, _ := h.Storage("store")
	rec := &toyRecorder{host: h, storage: dialer.Space("main", nil), streams: map[string]*toyRecording{}, early: c.Mutant == "early", wake: make(chan struct{}, 1)}
	for {
		if err := rec.recover(c.Options.Epoch); err == nil {
			break
		} else if errors.Is(err, archive.StaleEpochError) {
			fmt.Fprintln(os.Stderr, "stale:", err)
			os.Exit(4)
		} else {
			fmt.Fprintln(os.Stderr, "recover:", err)
			time.Sleep(20 * time.Millisecond)
		}
	}
	d, _ := h.Driver("toy")
	for i := range c.Streams {
		uid := fmt.Sprintf("cam%02d", i)
		r := rec.get(uid)
		s, err := d.Subscribe(stream.Subscription{UID: uid, URL: "toy://x"}, r)
		if err != nil {
			panic(err)
		}
		rec.mu.Lock()
		r.session = s
		rec.mu.Unlock()
	}
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			if rec.allSynced(c.Streams) {
				writeProgress(c.Progress, c.Options.Epoch)
				return
			}
		}
	}()
	rec.run()
}

func writeProgress(path string, v any) {
	b, _ := json.Marshal(v)
	os.WriteFile(path+".tmp", b, 0o600)
	os.Rename(path+".tmp", path)
}

// toyRecorder appends what sinks gather. A record is length, run, sequence,
// payload.
type toyRecorder struct {
	host    *Host
	storage archive.Storage
	early   bool
	wake    chan struct{}

	mu      sync.Mutex
	streams map[string]*toyRecording
}

type toyRecording struct {
	rec     *toyRecorder
	uid     string
	session stream.Session
	held    []media.RunPosition // runs in order
	size    int64
	cur     []byte    // gathered
	parts   []toyPart // not synced
	synced  int       // parts
	behind  bool
}

type toyPart struct {
	off  int64
	data []byte
	pos  media.RunPosition
	seq  uint64 // on the present appender; 0 = to be sent
}

func (r *toyRecorder) get(uid string) *toyRecording {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[uid]
	if s == nil {
		s = &toyRecording{rec: r, uid: uid}
		r.streams[uid] = s
	}
	return s
}

func (r *toyRecorder) recover(epoch uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := r.storage.Open(ctx, epoch, 0, true); err != nil {
		return err
	}
	var names []archive.Entry
	if err := r.storage.List(ctx, "open/", "", func(e []archive.Entry) error { names = append(names, slices.Clone(e)...); return nil }); err != nil {
		return err
	}
	for _, e := range names {
		b := make([]byte, e.Size)
		if _, err := r.storage.ReadAt(ctx, e.Name, 0, b); err != nil {
			return err
		}
		held, whole := scanToy(b)
		if whole < e.Size {
			if err := r.storage.Truncate(ctx, e.Name, whole); err != nil {
				return err
			}
		}
		s := r.get(filepath.Base(e.Name))
		s.held, s.size = held, whole
	}
	return nil
}

// scanToy reads records up to a torn one.
func scanToy(b []byte) (held []media.RunPosition, whole int64) {
	for rest := b; len(rest) >= 4; {
		n := int(binary.BigEndian.Uint32(rest))
		if n < 24 || len(rest) < 4+n {
			break
		}
		run, seq := media.RunID(rest[4:20]), binary.BigEndian.Uint64(rest[20:28])
		if run.IsZero() {
			rest = rest[4+n:]
			whole += int64(4 + n)
			continue
		}
		if len(held) == 0 || held[len(held)-1].Run != run {
			held = append(held, media.RunPosition{Run: run, Tracks: []media.Position{{Track: 1}}})
		}
		held[len(held)-1].Tracks[0].Next = seq + 1
		rest = rest[4+n:]
		whole += int64(4 + n)
	}
	return held, whole
}

func (s *toyRecording) Positions() []media.RunPosition {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	var out []media.RunPosition
	for _, h := range s.held {
		out = append(out, media.RunPosition{Run: h.Run, Tracks: slices.Clone(h.Tracks)})
	}
	return out
}

func (s *toyRecording) Opened(o stream.Opened) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	if len(s.held) == 0 || s.held[len(s.held)-1].Run != o.Run {
		s.held = append(s.held, media.RunPosition{Run: o.Run, Tracks: []media.Position{{Track: 1, Next: o.First[0].Next}}})
	}
}

func (s *toyRecording) Units(us []media.AccessUnit) bool {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	if len(s.parts) > 40 { // bounded: 2 s
		s.behind = true
		return false
	}
	h := &s.held[len(s.held)-1]
	for _, u := range us {
		if u.Seq < h.Tracks[0].Next {
			continue // held already
		}
		s.cur = binary.BigEndian.AppendUint32(s.cur, uint32(24+len(u.Payload)))
		s.cur = append(s.cur, h.Run[:]...)
		s.cur = binary.BigEndian.AppendUint64(s.cur, u.Seq)
		s.cur = append(s.cur, u.Payload...)
		h.Tracks[0].Next = u.Seq + 1
	}
	return true
}

func (s *toyRecording) Closed(stream.Closed) {}
func (s *toyRecording) Stats(stream.Stats)   {}

// cut makes parts of what was gathered. rec.mu is held.
func (r *toyRecorder) cut() {
	for _, s := range r.streams {
		if len(s.cur) == 0 {
			continue
		}
		h := s.held[len(s.held)-1]
		// A part begins with a header that no other core writes alike, as real
		// parts do: bytes of a dead core that land late do harm.
		head := make([]byte, 28+int(r.host.opt().Epoch*13%61))
		binary.BigEndian.PutUint32(head, uint32(len(head)-4))
		binary.BigEndian.PutUint64(head[20:], r.host.opt().Epoch)
		s.cur = append(head, s.cur...)
		p := toyPart{off: s.size, data: s.cur, pos: media.RunPosition{Run: h.Run, Tracks: slices.Clone(h.Tracks)}}
		s.size += int64(len(s.cur))
		s.cur = nil
		s.parts = append(s.parts, p)
		if r.early && s.session != nil {
			s.session.Ack(p.pos)
		}
	}
}

func (r *toyRecorder) allSynced(want int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.streams {
		if s.synced > 0 {
			n++
		}
	}
	return n == want
}

// run appends for ever, over as many appenders as it takes.
func (r *toyRecorder) run() {
	for {
		err := r.append()
		if errors.Is(err, archive.StaleEpochError) {
			os.Exit(4)
		}
		fmt.Fprintln(os.Stderr, "append:", err)
		time.Sleep(20 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		r.storage.Open(ctx, r.host.opt().Epoch, 0, false)
		cancel()
	}
}

func (r *toyRecorder) append() error {
	a, err := r.storage.Append(context.Background())
	if err != nil {
		return err
	}
	defer a.Close()
	r.mu.Lock()
	for _, s := range r.streams {
		for i := range s.parts {
			s.parts[i].seq = 0
		}
	}
	r.mu.Unlock()
	failed := make(chan error, 1)
	go func() {
		for {
			m, err := a.Recv()
			if err == nil && m.Kind == archive.Failed {
				err = fmt.Errorf("append failed: %v %s", m.Reason, m.Message)
				if m.Reason == archive.FailStaleEpoch {
					err = archive.StaleEpochError
				}
			}
			if err != nil {
				failed <- err
				a.Close()
				return
			}
			if m.Kind == archive.Synced {
				r.synced(m.Sequence)
			}
		}
	}()
	var seq uint64
	for t := time.NewTicker(50 * time.Millisecond); ; <-t.C {
		var send []archive.AppendData
		r.mu.Lock()
		r.cut()
		for _, s := range r.streams {
			for i := range s.parts {
				if p := &s.parts[i]; p.seq == 0 {
					seq++
					p.seq = seq
					send = append(send, archive.AppendData{Sequence: seq, Name: "open/" + s.uid, Offset: p.off, Create: true, Payload: [][]byte{p.data}})
				}
			}
		}
		r.mu.Unlock()
		for _, d := range send {
			if err := a.Send(d); err != nil {
				return errors.Join(err, <-failed)
			}
		}
		select {
		case err := <-failed:
			return err
		default:
		}
	}
}

func (r *toyRecorder) synced(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.streams {
		n := 0
		for n < len(s.parts) && s.parts[n].seq != 0 && s.parts[n].seq <= seq {
			n++
		}
		if n == 0 {
			continue
		}
		if s.session != nil {
			s.session.Ack(s.parts[n-1].pos)
		}
		s.parts = s.parts[n:]
		s.synced += n
		if s.behind && len(s.parts) < 10 && s.session != nil {
			s.behind = false
			s.session.Resubscribe()
		}
	}
}
