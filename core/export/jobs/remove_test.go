package jobs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/media"
)

// gone: nothing of a job is left.
func (s *server) gone(dir, id string) {
	s.t.Helper()
	records, _ := filepath.Glob(filepath.Join(dir, recordsDir, "*"))
	if got := files(s.t, dir); len(got)+len(records)+len(s.List()) != 0 {
		s.t.Errorf("left: %v %v %+v", got, records, s.List())
	}
	s.Jobs.mu.Lock()
	defer s.Jobs.mu.Unlock()
	if s.Jobs.jobs[id] != nil {
		s.t.Errorf("%+v", s.Jobs.jobs[id].Job)
	}
}

// TestRemoveSealed: who deletes an export that is being published has it deleted,
// however long that takes, and whatever the server ends at.
func TestRemoveSealed(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir, src := t.TempDir(), &drawn{size: 1 << 20}
			reached, release := make(chan struct{}), make(chan struct{})
			s := serve(t, dir, src, func(o *Options) {
				o.stop = func(step string) bool {
					if step == "sealed" {
						close(reached)
						<-release
					}
					return false
				}
			})
			synctest.Wait()
			id := s.ask(Ask{}).ID
			<-reached
			if err := s.Remove(id); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(id); !errors.Is(err, ErrNoJob) || !errors.Is(s.Remove(id), ErrNoJob) || len(s.List()) != 0 {
				t.Errorf("it is told of still: %v", err)
			}
			if restart {
				s.cancel()
				close(release)
				s.stop()
				s = serve(t, dir, src, nil)
				time.Sleep(time.Second)
			} else {
				close(release)
				synctest.Wait()
			}
			s.gone(dir, id)
			if got := s.told(); got != "started canceled" && (!restart || got != "canceled") {
				t.Errorf("told: %s", got)
			}
			s.stop()
		})
	}
}

// TestRemoveAtStart: an export that is cancelled before it is taken up stays so.
func TestRemoveAtStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, recordsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	j := New(Options{Dir: dir, Config: DefaultConfig()})
	x := &job{Job: Job{ID: newID(), Ask: Ask{UID: "gate", Span: media.Span{From: 1, To: 2}}, File: "a.mp4", State: Running, Attempts: 1}, saved: true, left: make(chan struct{})}
	j.jobs[x.ID] = x
	if err := j.Remove(x.ID); err != nil {
		t.Fatal(err)
	}
	j.takeUp(x)
	if y, err := j.Get(x.ID); err != nil || y.State != Canceled {
		t.Errorf("%+v %v", y, err)
	}
	x.dropping = true
	if err := j.Remove(x.ID); err == nil || failureOf(err).Code != CodeBusy {
		t.Errorf("while it is being deleted: %v", err)
	}
}

// TestNotDurable: an export whose name may not have reached the disk fails, and its
// file does not stay there.
func TestNotDurable(t *testing.T) {
	r, dir := newRecorded(t), t.TempDir()
	s := serve(t, dir, r, func(o *Options) {
		o.sync = func(string) error { return errors.New("input/output error") }
	})
	if x := s.over(s.ask(Ask{Proof: true}).ID); x.State != Failed || x.Why.Code != CodeFolder || len(files(t, dir)) != 0 {
		t.Errorf("%+v %+v %v", x, x.Why, files(t, dir))
	}
}
