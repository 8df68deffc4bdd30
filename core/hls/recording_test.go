package hls

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// TestRecording: one stream of MPEG-TS is the segments of the playlist, a new run
// is marked, and what was lent is given back, also by those who go early.
func TestRecording(t *testing.T) {
	p := newDoor(4)
	for i := range p.segs[2:] {
		p.segs[2+i].Run, p.segs[2+i].Discontinuity = media.RunID{2}, p.segs[2+i].Discontinuity+1
	}
	var want []byte
	for _, e := range read(t, must(New(p).Media(Request{UID: "cam", TS: true, Span: media.Span{From: begin, To: begin.Add(time.Hour)}}))).entries {
		want = append(want, p.read(t, e.uri)...)
	}
	s := New(p)
	sent := int64(-1)
	r, err := s.Recording(Request{UID: "cam", Span: media.Span{From: begin.Add(time.Second), To: begin.Add(time.Minute)}}, nil, func(n int64) { sent = n })
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %d bytes of %d", err, len(got), len(want))
	}
	differ, at := 0, 0
	for i := range got {
		if got[i] != want[i] {
			differ, at = differ+1, i
		}
	}
	if differ != 1 || at%188 != 5 || got[at] != want[at]|0x80 || at < len(want)/2 || at > len(want)/2+4*188 {
		t.Errorf("%d bytes differ, the last at %d of %d", differ, at, len(want))
	}
	if err := r.Close(); err != nil || sent != int64(len(want)) || s.ts.n.Load() != 0 {
		t.Errorf("%v, %d sent, %d bytes lent", err, sent, s.ts.n.Load())
	}
	r, _ = s.Recording(Request{UID: "cam", Span: media.Span{From: begin, To: begin.Add(time.Minute)}}, nil, nil)
	_, _ = r.Read(make([]byte, 10))
	if s.ts.n.Load() == 0 {
		t.Error("nothing is lent")
	}
	_ = r.Close()
	if s.ts.n.Load() != 0 {
		t.Error("who goes early gives nothing back")
	}
	r, _ = s.Recording(Request{UID: "cam", Span: media.Span{From: begin, To: begin.Add(time.Minute)}}, nil, nil)
	p.layouts = nil
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, archive.ErrGone) {
		t.Errorf("deleted meanwhile: %v", err)
	}
	if _, err := s.Recording(Request{UID: "cam", Span: media.Span{From: 1, To: 2}}, nil, nil); !errors.Is(err, ErrNoFootage) {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := New(newTelephone(2)).Recording(Request{Span: media.Span{From: begin, To: begin.Add(time.Minute)}}, nil, nil); !errors.Is(err, ErrCodec) || !bytes.Contains([]byte(err.Error()), []byte("pcmu")) {
		t.Errorf("only G.711: %v", err)
	}
}

// TestRecordingWaits: a recording waits for memory that others have for a while.
func TestRecordingWaits(t *testing.T) {
	for name, c := range map[string]struct {
		recordings, others int64 // bytes that are lent
		after              time.Duration
		what               error
	}{
		"until others have read":    {0, mostTSAtOnce, 5 * time.Second, nil},
		"for other recordings":      {mostLent, 0, 5 * time.Second, nil},
		"not for ever":              {0, mostTSAtOnce, time.Hour, ErrBusy},
		"while recordings have all": {mostLent, 0, time.Hour, ErrBusy},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(newDoor(2))
				var lent []loan
				for n := int64(0); n < c.recordings+c.others; n += mostLent / 2 {
					l, ok := s.ts.take(mostLent/2, n < c.recordings)
					if !ok {
						t.Fatal("not lent")
					}
					lent = append(lent, l)
				}
				back := time.AfterFunc(c.after, func() {
					for _, l := range lent {
						l.Release()
					}
				})
				r, err := s.Recording(Request{UID: "cam", Span: media.Span{From: begin, To: begin.Add(time.Minute)}}, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				if n, err := io.Copy(io.Discard, r); !errors.Is(err, c.what) || (n > 0) != (c.what == nil) {
					t.Errorf("%d bytes, %v", n, err)
				}
				if took := time.Since(begun); took < min(c.after, memoryWait) || took > min(c.after, memoryWait)+time.Second {
					t.Errorf("behind %v", took)
				}
				_ = r.Close()
				back.Stop()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := New(newDoor(1))
		s.ts.n.Store(mostTSAtOnce)
		end := make(chan struct{})
		r, err := s.Recording(Request{UID: "cam", Span: media.Span{From: begin, To: begin.Add(time.Minute)}}, end, nil)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := r.Read(make([]byte, 10))
			ended <- err
		}()
		synctest.Wait()
		begun := time.Now()
		close(end)
		if err := <-ended; !errors.Is(err, io.ErrClosedPipe) || time.Since(begun) != 0 {
			t.Errorf("the server ends: %v behind %v", err, time.Since(begun))
		}
		_ = r.Close()
		if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("behind the end: %d %v", n, err)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
