package archive

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"media-server/core/fault"
)

// A space is known by the id in its marker, not by its path: under the same
// path there may be an empty mount point, a disk that was swapped, or a copy.
// state.db remembers which space had which id, and the newest epoch that was
// noted there: the same id with an older one is a copy from before. (A copy made
// since the last start of the server cannot be told from its original.) What does not fit is Lost:
// nothing is written there, nothing of it is listed anew, and it is tried again
// until the right disk is back or somebody says that this one is right now.

// errLost: what lies at the path of a space is not that space.
var errLost = errors.New("lost")

// lostError says what lies there instead.
type lostError struct{ *fault.Problem }

func (e *lostError) Unwrap() error { return e.Problem }

func (e *lostError) Is(target error) bool { return target == errLost }

func lost(name, what, hint string) error {
	return &lostError{&fault.Problem{Where: "space " + name, What: what, Hint: hint}}
}

// openStorage opens a space for this process and makes sure that it is the one
// that had its name before. A space never seen is made, if its folder is empty.
func (a *Archive) openStorage(ctx context.Context, s *space) (SpaceInfo, error) {
	name := s.cfg.Name
	known, least, seen, err := a.spaceID(name)
	if err != nil {
		return SpaceInfo{}, fmt.Errorf("look up space %s: %w", name, err)
	}
	s.mu.Lock()
	accept := s.accept
	s.mu.Unlock()
	create := s.cfg.Create && (accept || !seen && !a.cat.hasFiles(name))
	if accept {
		least = 0
	}
	if accept && seen { // a copy from before is the space as soon as our epoch stands in it
		if err := a.dueLater(ctx, name, dueScan); err != nil {
			return SpaceInfo{}, fmt.Errorf("remember space %s: %w", name, err)
		}
	}
	info, err := s.openAs(ctx, least, create)
	var who kinship
	if err == nil && !seen && !info.Created && !accept {
		if who, err = a.kinOf(ctx, s, info.ID); err != nil {
			return info, err
		}
	}
	taken := accept || who.moved
	var due spaceDue
	if taken {
		due |= dueScan
	}
	if taken && (!seen || info.ID != known) {
		due |= dueNumbers
	}
	s.mu.Lock()
	s.strange = info.ID // of what lies there, also where it cannot be opened
	s.mu.Unlock()
	switch {
	case err != nil && (seen || a.cat.hasFiles(name)) && info.ID == [16]byte{} && !errors.Is(err, StaleEpochError):
		p := new(fault.Problem)
		if !errors.As(err, &p) {
			return info, err // the backend does not answer: nothing is known of the disk
		}
		return info, lost(name, "the space is not there: "+p.What, "mount its disk again; if that is gone for good, an empty folder takes its place with: POST /api/v1/spaces/"+name+"/initialize")
	case seen && info.ID != known && info.ID != [16]byte{} && !accept:
		return info, lost(name, fmt.Sprintf("another space lies at its path (%x, it was %x)", info.ID[:4], known[:4]),
			"put the right disk back; to take this one with what it holds: POST /api/v1/spaces/"+name+"/restore")
	case err != nil && seen && info.ID == known && info.Epoch != 0 && info.Epoch < least:
		return info, lost(name, "an older copy of the space lies at its path, or its disk was away for a while: it was written to since, elsewhere",
			"mount the disk that was used last; to go on with this one, without what it does not hold: POST /api/v1/spaces/"+name+"/restore")
	case err != nil:
		return info, err
	case who.strange:
		return info, lost(name, who.what, who.hint)
	case !seen || info.ID != known || info.Epoch != least || due != 0:
		if err := a.rememberSpace(ctx, name, info, due); err != nil {
			return info, fmt.Errorf("remember space %s: %w", name, err)
		}
	}
	s.mu.Lock()
	s.restoring = s.restoring || taken || s.accept // it may have been said meanwhile, of the disk that is back
	s.accept, s.taken = false, s.taken || due&dueNumbers != 0
	s.mu.Unlock()
	return info, nil
}

// spaceDue is what is still to be done with a space that was taken over. It
// stands in state.db: what is not done when the process ends is done by the next.
type spaceDue int64

const (
	dueScan    spaceDue = 1 // it has not been read yet (space.restoring)
	dueNumbers spaceDue = 2 // what grew in it has the numbers of another installation (space.taken)
)

// dueLater notes that something is due of a space that is known.
func (a *Archive) dueLater(ctx context.Context, name string, due spaceDue) error {
	have, err := a.dueOf(name)
	if err != nil || have&due == due {
		return err
	}
	return a.state.atOnce(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE spaces SET due = due | ? WHERE name = ?", int64(due), name)
		return err
	})
}

// dueDone notes that it was done.
func (a *Archive) dueDone(ctx context.Context, name string, due spaceDue) error {
	return a.state.atOnce(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE spaces SET due = due & ~? WHERE name = ?", int64(due), name)
		return err
	})
}

func (a *Archive) dueOf(name string) (due spaceDue, err error) {
	err = a.state.reader().QueryRow("SELECT due FROM spaces WHERE name = ?", name).Scan(&due)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return due, err
}

// loadDue reads what an earlier process has left to be done with some spaces,
// before they are opened.
func (a *Archive) loadDue(spaces ...*space) error {
	for _, s := range spaces {
		due, err := a.dueOf(s.cfg.Name)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.restoring, s.taken = due&dueScan != 0, due&dueNumbers != 0
		s.mu.Unlock()
	}
	return nil
}

// spaceID is the id that a space had, and the newest epoch noted in it.
func (a *Archive) spaceID(name string) (id [16]byte, epoch uint64, seen bool, err error) {
	var b []byte
	var newest int64
	err = a.state.reader().QueryRow("SELECT id, epoch FROM spaces WHERE name = ?", name).Scan(&b, &newest)
	if errors.Is(err, sql.ErrNoRows) {
		return id, 0, false, nil
	}
	copy(id[:], b)
	return id, uint64(newest), err == nil, err
}

// setLost says that what lies at the path of the space is not the space.
func (s *space) setLost() {
	s.mu.Lock()
	already := s.lost
	s.lost, s.known = true, false
	s.mu.Unlock()
	if !already {
		s.a.isTold(s)
	}
}

// rememberSpace notes which space has a name from now on, and what is due of it
// beside what was already.
func (a *Archive) rememberSpace(ctx context.Context, name string, info SpaceInfo, due spaceDue) error {
	return a.state.now(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO spaces (name, id, epoch, due) VALUES (?,?,?,?)
			ON CONFLICT (name) DO UPDATE SET id = excluded.id, epoch = excluded.epoch, due = due | excluded.due`, name, info.ID[:], int64(info.Epoch), int64(due))
		_, err2 := tx.Exec("DELETE FROM spaces WHERE name = ?", removedPrefix+hex.EncodeToString(info.ID[:]))
		return errors.Join(err, err2)
	})
}

// hasFiles tells whether the catalogue lists any file of a space.
func (c *catalogue) hasFiles(space string) bool {
	var n int
	err := c.reader().QueryRow("SELECT count(*) FROM (SELECT 1 FROM files f JOIN spaces p ON p.id = f.space WHERE p.name = ? LIMIT 1)", space).Scan(&n)
	return err == nil && n > 0
}

// SpaceState is what an operator is told of a space.
type SpaceState string

// States of a space.
const (
	SpaceNormal       SpaceState = "normal"
	SpaceRestoring    SpaceState = "restoring"    // it was taken over and has not been read yet
	SpaceInitializing SpaceState = "initializing" // everything in it is being deleted
	SpaceScanning     SpaceState = "scanning"     // its files are being read into the catalogue, while it records
	SpaceFull         SpaceState = "full"         // and nothing in it may be deleted
	SpaceReadOnly     SpaceState = "read_only"    //
	SpaceFailing      SpaceState = "failing"      // it cannot be written to; tried again all the time
	SpaceLost         SpaceState = "lost"         // it is not there, or is another
	SpaceOpening      SpaceState = "opening"      // for the first time since the start
)

// stateLocked derives the state; s.mu is held.
func (s *space) stateLocked() SpaceState {
	switch {
	case s.wiping:
		return SpaceInitializing
	case s.lost && s.accept:
		return SpaceRestoring
	case s.lost:
		return SpaceLost
	case s.failing != "" && s.usage.ReadOnly:
		return SpaceReadOnly
	case s.failing != "":
		return SpaceFailing
	case s.fullLocked():
		return SpaceFull
	case s.info.ID == [16]byte{}:
		return SpaceOpening
	case s.scanning:
		return SpaceScanning
	case s.restoring:
		return SpaceRestoring
	}
	return SpaceNormal
}

// SpaceStatus is a space as an operator sees it.
type SpaceStatus struct {
	Name      string
	Pools     []string
	ID        [16]byte
	State     SpaceState
	Why       string
	Hint      string
	Since     time.Time // of the trouble; zero = none
	Done      int64     // files read while scanning
	Total     int64     // files found so far
	Usage     Usage
	Waiting   int64         // bytes that wait to be written
	Slow      time.Duration // what a sync takes while that is longer than promised; 0 = all is well
	SlowSince time.Time
	Leaving   bool // nothing new comes to it: it is to be removed

	Stays    int    // files that are to go and cannot be deleted, though others go
	StaysOne string // one of them
	StaysWhy string // what its storage said

	Low       time.Time // less than AlarmFree has been free since then, though the oldest footage goes where it may; zero = not so
	AlarmFree int64     // bytes; 0 while Low is zero
}

// SpaceStatuses lists all spaces in the order of the settings.
func (a *Archive) SpaceStatuses() (out []SpaceStatus) {
	for _, s := range a.allSpaces() {
		out = append(out, a.status(s))
	}
	return out
}

func (a *Archive) status(s *space) SpaceStatus {
	s.mu.Lock()
	x := SpaceStatus{Name: s.cfg.Name, ID: s.info.ID, State: s.stateLocked(), Why: s.failing, Usage: s.usage, Waiting: s.bytes, Done: s.scanDone, Total: s.scanTotal, Leaving: s.leaving}
	if s.failing != "" {
		x.Since, x.Hint = s.failSince, s.failHint
		if s.failWhat != "" {
			x.Why += ": " + s.failWhat
		}
	}
	x.Slow, x.SlowSince = s.pace.told, s.pace.since
	if u := &s.undeletable; len(u.stays) > 0 {
		x.Stays, x.StaysOne, x.StaysWhy = len(u.stays), u.first, u.why
	}
	if !s.low.since.IsZero() {
		x.Low, x.AlarmFree = s.low.since, s.low.at
	}
	s.mu.Unlock()
	x.Pools = a.poolsOf(x.Name)
	return x
}

// ErrNoSuchSpace: no space has that name.
var ErrNoSuchSpace = errors.New("there is no such space")

// RestoreSpace takes what lies at the path of a lost space for the space from
// now on, with everything it holds; files of the space that was there before
// leave the lists. With an empty folder that is a new space.
func (a *Archive) RestoreSpace(name string) error {
	s := a.space(name)
	if s == nil {
		return ErrNoSuchSpace
	}
	if !s.takeOver() {
		return fault.New("space "+name, "the space is not lost: there is nothing to be taken instead", "")
	}
	a.asked.doneSpace(name) // what was confirmed was of another disk
	return nil
}

// takeOver says that what lies at the path of a lost space is right.
func (s *space) takeOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		s.accept, s.restoring = true, true
	}
	return s.lost
}
