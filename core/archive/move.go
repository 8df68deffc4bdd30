package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"media-server/core/media"
)

// prepare chooses where a file goes.
func (m *mover) prepare(ctx context.Context, r *row) (in *moving, err error) {
	ctx, over := untilStalled(ctx, moveMost)
	defer func() { err = over(err) }()
	dst, err := m.target(ctx, r.Size)
	if err != nil {
		return nil, err
	}
	src := m.a.space(r.Space)
	final, err := m.freeName(ctx, r, src, dst)
	if err != nil {
		return nil, err
	}
	return &moving{source: r.Space, name: r.Name, target: dst.cfg.Name, final: final, size: r.Size, began: media.WallOf(time.Now())}, nil
}

// errLeft: the space that a file was to go to is, or was meanwhile, emptied.
var errLeft = errors.New("the space takes nothing new, or was emptied meanwhile")

// carry does what an intent says, from wherever an earlier try ended. Into a space
// that is being emptied nothing is listed: it would go from both.
// errNotThere: the file was deleted meanwhile, and no copy of it is left.
func (m *mover) carry(ctx context.Context, i int, r *row, in *moving) error {
	src, dst := m.a.space(in.source), m.a.space(in.target)
	wipes, ok := dst.mayArrive()
	if !ok {
		return errors.Join(errLeft, m.a.undoMove(ctx, in))
	}
	if err := m.copy(ctx, i, in, src, dst); err != nil {
		// Also what was not told to be there may be: an answer can be lost.
		return errors.Join(err, m.a.undoMove(ctx, in))
	}
	if !dst.arrive(wipes) {
		return errors.Join(errLeft, m.a.undoMove(ctx, in))
	}
	defer dst.arrived()
	if err := m.a.cat.relocate(ctx, r, in.target, in.final); err != nil {
		if !errors.Is(err, errNotThere) {
			return err // it may be switched later than we waited: the intent stays
		}
		return errors.Join(err, m.a.undoMove(ctx, in))
	}
	m.a.moved(r.ID, dst, in.final)
	m.set(i, func(s *MoveStatus) {
		s.Files++
		s.Bytes += r.Size
		s.DueFiles, s.DueBytes = max(0, s.DueFiles-1), max(0, s.DueBytes-r.Size)
	})
	m.works()
	return m.a.leaveOriginal(ctx, in, r)
}

// causeMoved tells a verify of the space that a file was in where it went.
const causeMoved = "moved"

// leaveOriginal deletes the original of a file that is listed at its target,
// which the ledgers of both spaces say; the intent stays until they do.
func (a *Archive) leaveOriginal(ctx context.Context, in *moving, r *row) error {
	dst, src := noted{s: a.space(in.target)}, noted{s: a.space(in.source)}
	if dst.s != nil {
		var err error
		if dst.n, err = a.attestThere(ctx, dst.s, in.final, r); err != nil {
			return fmt.Errorf("read the signature of %s in space %s: %w", in.final, in.target, err)
		}
	}
	if src.s != nil {
		src.n = a.attestGone(src.s, []*row{r}, map[FileID]string{r.ID: causeMoved})
		dctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := src.s.st.Delete(dctx, []string{in.name}); err != nil {
			return fmt.Errorf("delete the original in space %s: %w", in.source, err)
		}
		src.s.gave(r.Size)
	}
	a.endMove(in, dst, src)
	return nil
}

// undoMove removes a copy that is not listed, and the intent.
func (a *Archive) undoMove(ctx context.Context, in *moving) error {
	if ctx.Err() != nil {
		return nil // the next process does it
	}
	if dst := a.space(in.target); dst != nil {
		dctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := dst.st.Delete(dctx, []string{in.final}); err != nil {
			return fmt.Errorf("delete what was copied to space %s: %w", in.target, err)
		}
	}
	return a.state.endMoveNow(ctx, in)
}

// copy stores the file in the target space, unless it is there already, and
// compares every byte of what is there with the original.
func (m *mover) copy(ctx context.Context, i int, in *moving, src, dst *space) error {
	from := &pacedReader{ctx: ctx, s: src, name: in.name, size: in.size, pace: m.paces[i], sum: sha256.New(),
		tell: func(n int64) { m.set(i, func(s *MoveStatus) { s.Done = n }) }}
	e, err := dst.st.Stat(ctx, in.final)
	switch {
	case err == nil && e.Size == in.size: // of an earlier try
		if _, err := io.Copy(io.Discard, from); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("look into space %s: %w", dst.cfg.Name, err)
	default:
		if err := dst.st.Put(ctx, in.final, in.size, from); err != nil {
			var own *sourceError
			if errors.As(err, &own) {
				return own
			}
			return fmt.Errorf("store %s in space %s: %w", in.final, dst.cfg.Name, err)
		}
		dst.mu.Lock()
		dst.stats.put += uint64(in.size)
		dst.mu.Unlock()
	}
	back := &pacedReader{ctx: ctx, s: dst, name: in.final, size: in.size, pace: m.paces[i], sum: sha256.New()}
	if _, err := io.Copy(io.Discard, back); err != nil {
		var own *sourceError
		if errors.As(err, &own) {
			err = own.err // not the original's fault
		}
		return fmt.Errorf("read back: %w", err)
	}
	if !bytes.Equal(from.sum.Sum(nil), back.sum.Sum(nil)) {
		return fmt.Errorf("space %s gives other bytes for %s than were stored", dst.cfg.Name, in.final)
	}
	return nil
}

// freeName is the file's name in the target: its own, unless another file (of
// an earlier installation) has it.
func (m *mover) freeName(ctx context.Context, r *row, src, dst *space) (string, error) {
	base := strings.TrimSuffix(r.Name, ".mp4")
	for n := 1; n < 100; n++ {
		name := r.Name
		if n > 1 {
			name = base + "-" + strconv.Itoa(n) + ".mp4"
		}
		e, err := dst.st.Stat(ctx, name)
		if errors.Is(err, os.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", fmt.Errorf("look into space %s: %w", dst.cfg.Name, err)
		}
		if e.Size == r.Size { // a copy whose intent was lost?
			same, err := sameBytes(ctx, src, r.Name, dst, name, r.Size)
			if err != nil {
				return "", err
			}
			if same {
				return name, nil
			}
		}
	}
	return "", &sourceError{fmt.Errorf("space %s has a hundred other files of the name %s", dst.cfg.Name, r.Name)}
}

// finish ends what earlier tries, or a process that was killed, left half way.
func (m *mover) finish(ctx context.Context) error {
	left, err := m.a.state.begun(m.to.Spaces)
	if err != nil {
		return fmt.Errorf("read what was being moved: %w", err)
	}
	for _, in := range left {
		if err := m.a.finishLeft(ctx, in, m.goOn); err != nil {
			return err
		}
	}
	return nil
}

// goOn carries a move further that settings still want now. Otherwise it is
// undone.
func (m *mover) goOn(ctx context.Context, here *row, in *moving) error {
	for i := range m.tiers {
		for _, space := range m.tiers[i].from {
			if space == in.source && m.tiers[i].at.Open(time.Now().In(m.a.o.Zone)) {
				return m.carry(ctx, i, here, in)
			}
		}
	}
	return m.a.undoMove(ctx, in)
}

// finishLeft ends a move that was left half way, if both spaces can be asked.
// An error means that no other is worth trying now.
func (a *Archive) finishLeft(ctx context.Context, in *moving, goOn func(context.Context, *row, *moving) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if a.endings.has(in) {
		return nil // done: the ledgers are being written
	}
	if !a.answers(in.source) || !a.answers(in.target) {
		return nil // until both do
	}
	fctx, over := untilStalled(ctx, moveMost)
	err := over(a.finishMove(fctx, in, goOn))
	var own *sourceError
	if errors.Is(err, errNotThere) || errors.Is(err, errLeft) || errors.As(err, &own) {
		return nil
	}
	return err
}

// answers tells whether a space can be asked what is in it. One that was removed,
// and that nothing is listed of, has nothing more to say.
func (a *Archive) answers(space string) bool {
	s := a.space(space)
	if s == nil {
		return !a.cat.hasFiles(space)
	}
	return s.readable()
}

func (a *Archive) finishMove(ctx context.Context, in *moving, goOn func(context.Context, *row, *moving) error) error {
	there, err := a.cat.at(in.target, in.final)
	if err == nil {
		if there.Flags&rowGoing != 0 {
			return nil // first that
		}
		return a.finishListed(ctx, there, in)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	here, err := a.cat.at(in.source, in.name)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return a.finishUnlisted(ctx, in)
	case err != nil:
		return err
	case here.Flags&rowGoing != 0:
		return nil // retention deletes the original; then the copy goes
	case goOn == nil || a.space(in.target) == nil:
		return a.undoMove(ctx, in)
	}
	return goOn(ctx, here, in)
}

// finishListed: the copy is listed. Usually all that is left is to delete the
// original; but a rebuild may have listed a copy that was never compared.
func (a *Archive) finishListed(ctx context.Context, there *row, in *moving) error {
	src, dst := a.space(in.source), a.space(in.target)
	if src == nil { // it was removed, with all that was in it
		return a.leaveOriginal(ctx, in, there)
	}
	if _, err := src.st.Stat(ctx, in.name); err == nil {
		same, err := sameBytes(ctx, src, in.name, dst, in.final, in.size)
		if err != nil {
			return err
		}
		if !same {
			if err := a.cat.relocate(ctx, there, in.source, in.name); err != nil {
				return err
			}
			return a.undoMove(ctx, in)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	a.moved(there.ID, dst, in.final)
	return a.leaveOriginal(ctx, in, there)
}

// finishUnlisted: neither is listed. Usually a rule deleted the original, and
// nobody knows the copy. But where the copy was listed already, and a rule took
// that, or its space was lost, the original may lie there still: it is listed
// again, for the rules to judge. So is the copy, where the original went with its
// space.
func (a *Archive) finishUnlisted(ctx context.Context, in *moving) error {
	s, name := a.space(in.source), in.name
	if s == nil {
		s, name = a.space(in.target), in.final
	}
	also, err := a.state.movesAlso(in)
	if err != nil {
		return err
	}
	if s == nil || also { // listed where another move of it went
		return a.undoMove(ctx, in)
	}
	listed, err := a.listAgain(ctx, s, name)
	if err != nil {
		return err
	}
	if listed && name == in.final && s.cfg.Name == in.target {
		return a.state.endMoveNow(ctx, in)
	}
	return a.undoMove(ctx, in)
}

// listAgain lists a sealed file that lies in a space and that nobody lists;
// false: it is not there, or is listed elsewhere.
func (a *Archive) listAgain(ctx context.Context, s *space, name string) (bool, error) {
	e, err := s.st.Stat(ctx, name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look into space %s: %w", s.cfg.Name, err)
	}
	r, err := a.readRow(ctx, s, e)
	if err != nil {
		return false, &sourceError{fmt.Errorf("read %s in space %s: %w", name, s.cfg.Name, err)}
	}
	if r == nil {
		return false, nil
	}
	r.Unminted = a.unminted(r.ID)
	err = a.booked(ctx, []string{r.UID}, func(tx *sql.Tx) ([]usage, error) {
		err := a.cat.put(tx, r, a.nextFile)
		if err != nil || r.Twin != nil {
			return nil, err
		}
		return []usage{{r.UID, r.Size}}, nil
	})
	if err != nil {
		return false, fmt.Errorf("list %s again: %w", name, err)
	}
	if r.Twin != nil {
		return false, nil
	}
	a.log.Info("footage that no list had is listed again", "space", s.cfg.Name, "file", name)
	return true, nil
}

// pacedReader reads a stored file in order, not faster than its pace.
type pacedReader struct {
	ctx  context.Context
	s    *space
	name string
	off  int64
	size int64
	pace *pace
	sum  hash.Hash
	tell func(done int64) // may be nil
}

// moveBlock is read at once: small enough that a slow pace is even.
const moveBlock = 256 << 10

// Read implements io.Reader. Its errors are sourceErrors.
func (p *pacedReader) Read(b []byte) (int, error) {
	if p.off >= p.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), moveBlock, p.size-p.off)]
	if err := p.pace.wait(p.ctx, len(b)); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, readTime)
	defer cancel()
	release, err := p.s.slot(ctx)
	if err != nil {
		return 0, &sourceError{err}
	}
	n, err := p.s.st.ReadAt(ctx, p.name, p.off, b)
	release()
	p.sum.Write(b[:n])
	p.off += int64(n)
	if n > 0 {
		goesOn(p.ctx)
	}
	if p.tell != nil {
		p.tell(p.off)
	}
	if err == nil || errors.Is(err, io.EOF) && p.off == p.size {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, &sourceError{fmt.Errorf("read %s in space %s: %w", p.name, p.s.cfg.Name, err)}
}

// pace spreads bytes over time. It goes on from file to file: with one a file
// the first block of each was free, and a file of one block all of it.
type pace struct {
	rate int64 // bytes a second; 0 = no limit
	next time.Time
}

func newPace(rate int64) *pace { return &pace{rate: rate} }

func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	d := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	if d > 0 && !sleep(ctx, d) {
		return ctx.Err()
	}
	return ctx.Err()
}

// sameBytes compares two stored files.
func sameBytes(ctx context.Context, a *space, aName string, b *space, bName string, size int64) (bool, error) {
	sum := func(s *space, name string) ([]byte, error) {
		r := &pacedReader{ctx: ctx, s: s, name: name, size: size, pace: newPace(0), sum: sha256.New()}
		_, err := io.Copy(io.Discard, r)
		return r.sum.Sum(nil), err
	}
	x, err := sum(a, aName)
	if err != nil {
		return false, err
	}
	y, err := sum(b, bName)
	return err == nil && bytes.Equal(x, y), err
}
