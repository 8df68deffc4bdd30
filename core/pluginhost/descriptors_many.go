package pluginhost

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"time"

	"media-server/core/archive"
)

// askAtOnce is how many descriptors are asked for before the first answer is
// read: few enough that neither side waits for the other with a full socket,
// many enough that asking does not cost a change of process each.
const askAtOnce = 32

// manyWithin is how long such a bunch may take; then each is asked for by
// itself, with a deadline of its own.
const manyWithin = 10 * time.Second

// Files implements archive.Opener.
func (s *spaceStorage) Files(ctx context.Context, names []string) []archive.Opened {
	out := make([]archive.Opened, 0, len(names))
	for len(names) > 0 {
		n := min(len(names), askAtOnce)
		some := s.side.many(ctx, s, names[:n])
		out, names = append(out, some...), names[len(some):]
		for range n - len(some) { // what the bunch has not brought
			f, err := s.File(ctx, names[0])
			out, names = append(out, archive.Opened{File: f, Err: err}), names[1:]
		}
	}
	return out
}

// many asks for descriptors in one message and returns those answers that came
// in good order.
func (d *descriptors) many(ctx context.Context, s *spaceStorage, names []string) []archive.Opened {
	d.mu.Lock()
	skip := d.single || d.socket == ""
	d.mu.Unlock()
	if skip || len(names) == 1 || ctx.Err() != nil {
		return nil
	}
	var q []byte
	for _, name := range names {
		var err error
		if q, err = appendQuestion(q, s.space, name); err != nil {
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.within, manyWithin))
	defer cancel()
	check, err := s.peerOfSide(ctx)
	if err != nil {
		return nil
	}
	c, socket, err := d.take(ctx, check)
	if err != nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	out, err := askMany(c, q, names)
	if !stop() || err != nil {
		c.Close()
		d.drop()
		d.oneByOne(errors.Is(err, os.ErrDeadlineExceeded))
		return out
	}
	d.give(c, socket)
	return out
}

// oneByOne: a backend that is silent after the first question of several does
// not read on, whatever PROTOCOL.md says; it is not asked so again.
func (d *descriptors) oneByOne(silent bool) {
	d.mu.Lock()
	d.single = d.single || silent
	d.mu.Unlock()
}

func askMany(c *net.UnixConn, q []byte, names []string) (out []archive.Opened, err error) {
	if _, err := c.Write(q); err != nil {
		return nil, err
	}
	out = make([]archive.Opened, 0, len(names))
	for _, name := range names {
		f, err := readDescriptor(c, name)
		if err != nil && !isAnswer(err) {
			return out, err
		}
		out = append(out, archive.Opened{File: f, Err: err})
	}
	return out, nil
}
