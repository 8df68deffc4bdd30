package jobs

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestHungDisk: where the disk of the exports does not answer, only who needs it
// waits, and a server that stops does not.
func TestHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs, steps atomic.Bool
		back := make(chan struct{})
		release := sync.OnceFunc(func() { close(back) })
		defer release()
		s := serve(t, t.TempDir(), &drawn{size: 1 << 20}, func(o *Options) {
			o.Disk = func(string) (int64, int64, error) {
				if hangs.Load() {
					<-back
				}
				return plenty, plenty, nil
			}
			o.stop = func(string) bool {
				if steps.Load() {
					<-back
				}
				return false
			}
		})
		synctest.Wait()
		first := s.ask(Ask{})
		s.over(first.ID)
		hangs.Store(true)
		asked := make(chan error, 1)
		go func() {
			_, err := s.Create(first.Ask)
			asked <- err
		}()
		synctest.Wait()
		told := make(chan int, 1)
		go func() {
			_, _ = s.Get(first.ID)
			_ = s.Problem()
			told <- len(s.List())
		}()
		select {
		case n := <-told:
			if n != 1 {
				t.Errorf("%d jobs are listed", n)
			}
		case <-time.After(time.Minute):
			t.Fatal("the list waits for the disk")
		}
		hangs.Store(false)
		steps.Store(true)
		s.ask(Ask{})
		synctest.Wait()
		begun := time.Now()
		s.stop()
		if took := time.Since(begun); took > 2*stopWait {
			t.Errorf("stopped behind %v", took)
		}
		release()
		if err := <-asked; err != nil {
			t.Error(err)
		}
	})
}
