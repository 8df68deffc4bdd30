package archive

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A space whose files cannot grow (an object store) has no byte stream: sealed
// files come by Put, and its ledger is written whole whenever something is
// added to it.
const (
	wholeLook  = 5 * time.Second // between two looks whether it answers
	wholeQuiet = time.Second     // facts that come together are written together
)

// wholeOnly tells whether the space is known to take whole files only.
func (s *space) wholeOnly() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info.ID != [16]byte{} && !s.info.Append
}

// attend stands in for a session: it writes the ledger, and looks whether the
// space answers. It ends with what is wrong.
func (s *space) attend(ctx context.Context) error {
	for {
		uctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		u, err := s.st.Usage(uctx)
		if err == nil {
			s.setUsage(u)
			err = s.writeLedger(uctx)
		}
		cancel()
		if err != nil {
			return err
		}
		s.answers()
		t := time.NewTimer(wholeLook)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		case <-s.retune:
			t.Stop()
			return errRetune
		case <-s.wake:
			t.Stop()
			if !sleep(ctx, wholeQuiet) {
				return ctx.Err()
			}
		}
	}
}

// answers clears what was said against the space, unless recordings wait for
// it, which it will never take.
func (s *space) answers() {
	s.mu.Lock()
	again := s.failing != ""
	s.failing, s.fails = "", 0
	stuck := slices.ContainsFunc(s.q, func(c *chunk) bool { return c.f != nil })
	s.mu.Unlock()
	switch {
	case stuck:
		s.setFailing("error", "takes whole files only, nothing can be recorded in it", fmt.Errorf("give its pool a stage = SPACE"))
	case again:
		s.a.notify(Notice{Type: "storage.ok", Level: "info", Message: "space " + s.cfg.Name + " takes data again", Data: map[string]any{"space": s.cfg.Name}})
	}
}

// writeLedger writes the ledgers that facts were added to, and takes those
// facts out of the queue.
func (s *space) writeLedger(ctx context.Context) error {
	for {
		s.mu.Lock()
		i := slices.IndexFunc(s.q, func(c *chunk) bool { return c.led != nil })
		if i < 0 {
			s.mu.Unlock()
			return nil
		}
		led := s.q[i].led
		body := slices.Clone(led.body)
		var taken []*chunk
		for _, c := range s.q {
			if c.led == led {
				taken = append(taken, c)
				for _, p := range c.data {
					body = append(body, p...)
				}
			}
		}
		s.mu.Unlock()
		if err := s.st.Write(ctx, led.final, body); err != nil {
			return fmt.Errorf("write the ledger of space %s: %w", s.cfg.Name, err)
		}
		s.mu.Lock()
		led.body = body
		s.q = slices.DeleteFunc(s.q, func(c *chunk) bool {
			if !slices.Contains(taken, c) {
				return false
			}
			s.bytes -= c.size
			return true
		})
		s.mu.Unlock()
	}
}
