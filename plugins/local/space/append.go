package space

import (
	"errors"
	"syscall"
	"time"
)

// Data is one append. The payload is used during the call only.
type Data struct {
	Sequence  uint64
	Name      string
	Offset    uint64
	ReserveTo uint64
	Create    bool
	Payload   []byte
}

// maxFile keeps offsets far from where they could overflow.
const maxFile = 1 << 50

// Append carries out one message. What became of it is said by Next. It blocks
// as long as the disk does. Calls of one session come one after the other.
func (c *Session) Append(d Data) {
	s := c.space
	select {
	case c.inside <- struct{}{}:
		defer func() { <-c.inside }()
	case <-c.end:
		return
	}
	if c.skips(d) {
		c.pass(d.Sequence)
		s.wake()
		return
	}
	if err := s.begin(c.epoch); err != nil {
		c.fail(d, wrap(d.Name, "append", err))
		return
	}
	defer s.gate.leave()
	if c.ended() {
		return
	}
	err := s.append(d)
	switch {
	case err == nil:
		c.pass(d.Sequence)
	case errors.Is(err, errSkipped):
		c.pass(d.Sequence)
		s.wake()
	default:
		e := wrap(d.Name, "append", err)
		if e.Reason == ReadOnly {
			s.readOnly.Store(true)
		}
		c.fail(d, e)
	}
}

// errSkipped: the file failed before and this is not yet the repetition.
var errSkipped = errors.New("skipped")

func (s *Space) append(d Data) error {
	if err := CheckName(d.Name); err != nil {
		return err
	}
	f, made, err := s.open(d.Name, d.Create && len(d.Payload) > 0)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	if made && len(d.Payload) > 0 {
		defer func() { // no empty files, whatever went wrong
			if f.size == 0 && !f.gone {
				s.discard(f)
			}
		}()
	}
	if !made {
		if e := s.checkOpen(f); e != nil {
			return e
		}
	}
	if d.Offset > uint64(f.size) {
		if f.failed {
			return errSkipped
		}
		f.failed = true
		return &Error{Reason: BadOffset, Name: d.Name, Size: f.size, What: "the offset lies past the end"}
	}
	end := int64(d.Offset) + int64(len(d.Payload))
	if end > maxFile || d.ReserveTo > maxFile {
		return &Error{Reason: BadOffset, Name: d.Name, Size: f.size, What: "the file would be too large"}
	}
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	if err := s.room(f, end); err != nil {
		f.failed = true
		return err
	}
	s.reserve(f, end, int64(d.ReserveTo))
	if err := s.put(f, d, end); err != nil {
		f.failed = true
		return err
	}
	f.failed = false
	return nil
}

// put writes and keeps the books. Needs f.mu.
func (s *Space) put(f *file, d Data, end int64) error {
	n, err := s.disk.pwrite(f.fd, d.Payload, int64(d.Offset))
	f.last = time.Now()
	if err != nil {
		// Never leave half a message behind: the next reader of this tail
		// would find bytes that nobody was told about.
		if int64(d.Offset)+int64(n) > f.size {
			if terr := f.fd.Truncate(f.size); terr != nil {
				s.log.Warn("cannot cut a half written message", "space", s.name, "file", f.name, "err", terr)
			}
			s.recount(f)
		}
		e := wrap(d.Name, "write", err)
		e.Size = f.size
		return e
	}
	if f.synced < 0 {
		// What was there before this process opened the file was sent again
		// where it was not durable, so it is durable up to the first message.
		f.synced = int64(d.Offset)
	}
	f.synced = min(f.synced, int64(d.Offset))
	f.size = max(f.size, end)
	s.account(f, max(f.counted, f.size, f.reserved))
	s.markDirty(f)
	return nil
}

// reserve asks for blocks ahead, so that a file lies in few pieces. It is asked
// for anew only when the last reservation is used up. It may fail silently: if
// there is no space, the write says so.
func (s *Space) reserve(f *file, end, to int64) {
	if to <= end || end <= f.reserved || s.noPre.Load() {
		return
	}
	if limit := s.limit(); limit > 0 && s.use.bytes.Load()+to-max(f.reserved, f.size) > limit {
		return
	}
	from := max(f.size, f.reserved)
	switch err := s.disk.fallocate(f.fd, from, to-from); {
	case err == nil:
		f.reserved = to
	case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
		s.noPre.Store(true)
	}
}

// discard removes a file that never got a byte. Needs f.mu.
func (s *Space) discard(f *file) {
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	s.meta.Lock()
	s.root.Remove(f.name)
	s.meta.Unlock()
	s.account(f, 0)
	s.forget(f)
}
