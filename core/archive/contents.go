package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"media-server/core/media"
)

// SpaceContents is what lies in a space.
type SpaceContents struct {
	Streams []StreamContents // by uid
	Files   int64
	Bytes   int64
	Span    media.Span
	Locked  int64  // bytes that locks keep, files whole
	Confirm string // what InitializeSpace wants to hear; "" = there is nothing to be deleted
}

// StreamContents is what lies in a space of one stream.
type StreamContents struct {
	UID    string
	Files  int64
	Bytes  int64
	Span   media.Span
	Locked int64
}

// String says it in one line.
func (c *SpaceContents) String() string {
	var uids []string
	for _, s := range c.Streams {
		uids = append(uids, s.UID)
	}
	if n := len(uids); n > 5 {
		uids = append(uids[:5:5], fmt.Sprintf("and %d more", n-5))
	}
	text := fmt.Sprintf("%d files, %d MB, of %s, from %s to %s", c.Files, c.Bytes>>20, strings.Join(uids, ", "), c.Span.From.Time().Format(time.DateTime), c.Span.To.Time().Format(time.DateTime))
	if c.Locked > 0 {
		text += fmt.Sprintf("; %d MB of it are locked", c.Locked>>20)
	}
	return text
}

func (c *SpaceContents) add(s StreamContents) {
	i, found := slices.BinarySearchFunc(c.Streams, s.UID, func(x StreamContents, uid string) int { return cmp.Compare(x.UID, uid) })
	if found {
		x := &c.Streams[i]
		x.Files, x.Bytes, x.Locked, x.Span = x.Files+s.Files, x.Bytes+s.Bytes, x.Locked+s.Locked, both(x.Span, s.Span)
	} else {
		c.Streams = slices.Insert(c.Streams, i, s)
	}
	c.Files, c.Bytes, c.Locked, c.Span = c.Files+s.Files, c.Bytes+s.Bytes, c.Locked+s.Locked, both(c.Span, s.Span)
}

// both is the time from the first to the last of two spans.
func both(a, b media.Span) media.Span {
	switch {
	case a == media.Span{}:
		return b
	case b == media.Span{}:
		return a
	}
	return media.Span{From: min(a.From, b.From), To: max(a.To, b.To)}
}

// Contents tells what lies in a space: of one in use what is listed and what is
// being recorded; of a lost one what lies at its path, which nobody has listed.
func (a *Archive) Contents(ctx context.Context, name string) (*SpaceContents, error) {
	s := a.space(name)
	if s == nil {
		return nil, ErrNoSuchSpace
	}
	return a.contents(ctx, s)
}

func (a *Archive) contents(ctx context.Context, s *space) (c *SpaceContents, err error) {
	id := s.markerID()
	if s.isLost() {
		c, err = a.strangeContents(ctx, s)
	} else {
		c, err = a.listedContents(s)
		if err == nil && c.Files == 0 && id != [16]byte{} {
			// Nothing is listed: what may be there all the same is worth a look.
			c, err = a.strangeContents(ctx, s)
		}
	}
	if err != nil {
		return nil, err
	}
	if c.Files > 0 {
		sum := sha256.Sum256(append([]byte("initialize "+s.cfg.Name+" "), id[:]...))
		c.Confirm = hex.EncodeToString(sum[:8]) // of this disk under this name, and of no other
	}
	return c, nil
}

// markerID is the id of what lies at the path, which of a lost space is not its
// own.
func (s *space) markerID() [16]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return s.strange
	}
	return s.info.ID
}

// listedContents reads the catalogue, and what is in memory.
func (a *Archive) listedContents(s *space) (*SpaceContents, error) {
	c := &SpaceContents{}
	rows, err := a.rowsIn(s.cfg.Name)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		x := StreamContents{UID: r.UID, Files: 1, Bytes: r.Size, Span: r.Span}
		if a.locks.locked(r.UID, r.Span) {
			x.Locked = r.Size
		}
		c.add(x)
	}
	listed := map[FileID]bool{}
	for _, r := range rows {
		listed[r.ID] = true
	}
	for _, f := range a.filesIn(s) {
		if listed[f.id] {
			continue
		}
		f.mu.Lock()
		x := StreamContents{UID: f.header.UID, Files: 1, Bytes: f.size, Span: f.spanLocked()}
		f.mu.Unlock()
		c.add(x)
	}
	s.mu.Lock()
	unread := s.unread
	s.mu.Unlock()
	for _, e := range unread {
		uid, _ := growingOf(e.name)
		x := StreamContents{UID: uid, Files: 1, Bytes: e.size}
		if len(a.locks.spans(uid)) > 0 {
			x.Locked = e.size // nobody can tell which time it is of
		}
		c.add(x)
	}
	return c, nil
}

// ourName is how a sealed media file is called.
var ourName = regexp.MustCompile(`^([A-Za-z0-9_-]{1,64})/(\d{4}-\d{2}-\d{2})/(\d{6})-[0-9a-f]{16}(?:-\d+)?\.mp4$`)

// strangeContents looks through the files at a space's path. Only names are
// read, and of each stream the last file's index and the ledgers' locks.
func (a *Archive) strangeContents(ctx context.Context, s *space) (*SpaceContents, error) {
	c := &SpaceContents{}
	locked, err := a.strangeLocks(ctx, s)
	if notOpen(s, err) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	var last Entry
	var cur StreamContents
	var starts []media.Wall
	var sizes []int64
	flush := func() {
		if cur.Files == 0 {
			return
		}
		if r, err := a.readRow(ctx, s, last); err == nil && r != nil {
			cur.Span.To = r.Span.To
		}
		for i, from := range starts {
			to := cur.Span.To
			if i+1 < len(starts) {
				to = starts[i+1]
			}
			for _, l := range locked[cur.UID] {
				if l.From < to && from < l.To {
					cur.Locked += sizes[i]
					break
				}
			}
		}
		c.add(cur)
		cur, starts, sizes = StreamContents{}, nil, nil
	}
	err = s.st.List(ctx, "", "", func(es []Entry) error {
		for _, e := range es {
			uid, at, ours := startOf(e.Name)
			if !ours {
				continue
			}
			if uid != cur.UID {
				flush()
				cur = StreamContents{UID: uid, Span: media.Span{From: at, To: at}}
			}
			cur.Files++
			cur.Bytes += e.Size
			cur.Span.To = max(cur.Span.To, at)
			starts, sizes, last = append(starts, at), append(sizes, e.Size), e
		}
		return ctx.Err()
	})
	flush()
	return c, err
}

// startOf reads stream and beginning out of a sealed or growing file's name.
func startOf(name string) (uid string, at media.Wall, ours bool) {
	if base, open := strings.CutPrefix(name, openPrefix); open {
		uid, _, ok := strings.Cut(base, ".")
		_, id := idOf(name)
		return uid, 0, ok && id && validName(uid) && strings.HasSuffix(name, ".mp4")
	}
	m := ourName.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false
	}
	t, err := time.Parse("2006-01-02 150405", m[2]+" "+m[3])
	return m[1], media.WallOf(t), err == nil
}

// notOpen tells whether a failure means that there is no space at the path at
// all: of a lost one that is no error, there is nothing in it.
func notOpen(s *space, err error) bool { return err != nil && s.isLost() && s.markerID() == [16]byte{} }

// strangeLocks reads the locks in force out of the ledgers at a space's path,
// without taking them over.
func (a *Archive) strangeLocks(ctx context.Context, s *space) (map[string][]media.Span, error) {
	made, over := map[FileID]fact{}, map[FileID]bool{}
	read := func(es []Entry) error {
		for _, e := range es {
			if !strings.HasSuffix(e.Name, ledgerSuffix) || e.Size > 64<<20 {
				continue
			}
			b := make([]byte, e.Size)
			if n, err := s.st.ReadAt(ctx, e.Name, 0, b); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
				return err
			}
			_, _ = parseLedger(b, func(f fact) { // one that is none holds no locks
				switch {
				case f.Type != factLock:
				case f.Size == lockReleased:
					over[f.File] = true
				default:
					made[f.File] = f
				}
			})
		}
		return nil
	}
	err := s.st.List(ctx, ledgerPrefix, "", read)
	if err == nil {
		err = s.st.List(ctx, openPrefix, "", read)
	}
	out := map[string][]media.Span{}
	now := media.WallOf(time.Now())
	for id, f := range made {
		if !over[id] && (f.Size == 0 || media.Wall(f.Size) > now) {
			out[f.UID] = append(out[f.UID], media.Span{From: f.At, To: f.Until})
		}
	}
	return out, err
}
