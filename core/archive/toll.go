package archive

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"media-server/core/archive/retain"
)

// toll is what retention needs to tell ordinary overwriting from a threshold or
// limit that takes a lot at once; s.mu.
type toll struct {
	counted uint64 // bytes written when it looked last
	came    int64  // between that look and the one before, if the rules are the same
	by      bounds // the rules
	holding bool   // a threshold or limit waits for a person
	unsure  bool   // what is missing is hidden (space.hides): the limits are lifted to see it
	owed    int64  // then: came and not yet made room for; negative = room was made in advance

	// What went for thresholds and limits in a day, and what the space held of
	// footage at most (footageIn): as much as comes goes with ordinary overwriting, and what it holds
	// stays the same.
	since      int64 // Unix ns
	took, used int64
	saved      tollRow // as it stands in state.db
}

// tollRow is what a restart must not forget: else what waits for a person would
// take as much again as it may take unasked.
type tollRow struct {
	since, took, used int64
	holding           bool
}

// row is what is to be kept of t; s.mu is held.
func (t *toll) row() tollRow { return tollRow{t.since, t.took, t.used, t.holding} }

// loadTolls reads what an earlier process has noted of some spaces; nobody else
// knows them yet.
func (a *Archive) loadTolls(spaces ...*space) error {
	for _, s := range spaces {
		var r tollRow
		err := a.state.reader().QueryRow("SELECT since, took, used, holding FROM tolls WHERE space = ?", s.cfg.Name).Scan(&r.since, &r.took, &r.used, &r.holding)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		s.mu.Lock()
		s.toll.since, s.toll.took, s.toll.used, s.toll.holding, s.toll.saved = r.since, r.took, r.used, r.holding, r
		s.mu.Unlock()
	}
	return nil
}

// saveToll notes what has changed of it, a moment later.
func (a *Archive) saveToll(s *space) {
	s.mu.Lock()
	r, same := s.toll.row(), s.toll.row() == s.toll.saved
	s.toll.saved = r
	s.mu.Unlock()
	if same {
		return
	}
	a.state.later(func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR REPLACE INTO tolls VALUES (?,?,?,?,?)", s.cfg.Name, r.since, r.took, r.used, r.holding)
		return err
	}, nil)
}

// bounds are the rules of a space when retention looked: what a change of them
// asks for is not asked for by what came.
type bounds struct {
	limits Limits
	free   int64 // overwrite-free, in bytes
}

// tollDay is how long what went is added up: what goes little by little within
// it goes at once.
const tollDay = 24 * 3600 * 1_000_000_000

// look begins a pass that finds the space holding used bytes of footage, with free bytes to
// be kept free.
func (s *space) look(used, free, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.toll
	wrote := s.stats.written + s.stats.put
	came := int64(wrote - t.counted)
	t.counted, t.came = wrote, came
	if by := (bounds{s.limits, free}); by != t.by {
		t.by, t.came = by, 0
	}
	if t.holding {
		t.owed += came
	} else {
		t.owed = t.came
	}
	if !t.holding && (now-t.since >= tollDay || now < t.since) { // or it began by a clock that was ahead
		t.since, t.took, t.used = now, 0, 0
	}
	t.used = max(t.used, used)
}

// gave notes bytes that are taken from the space, whatever for: there is that
// much room for what comes.
func (s *space) gave(bytes int64) {
	s.mu.Lock()
	s.toll.owed -= bytes
	s.stats.gave += bytes
	s.mu.Unlock()
}

// took notes bytes that were deleted from the space by plans, whether the catalogue
// could be told or not.
func (s *space) took(bytes int64) {
	s.mu.Lock()
	s.stats.deleted += bytes
	s.mu.Unlock()
}

// deletedSoFar is how many bytes that were since the process began.
func (s *space) deletedSoFar() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.deleted
}

// pay ends a pass that takes bytes from the space for thresholds and limits, or
// because it is full.
func (s *space) pay(held, confirmed bool, bytes int64, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.toll
	t.holding = held
	if full { // that much less is there, and no setting has taken it
		t.used = max(t.used-bytes, 0)
	} else {
		t.took += bytes
	}
	if confirmed {
		t.took, t.used = 0, 0
	}
}

// weigh tells the facts of a pressure that decide whether it is held, of a space
// that holds used bytes of footage, with free bytes to be kept free. By other limits
// than those of the last pass, which somebody asks about, nothing has come: that is
// how the first pass by them will see it.
func (s *space) weigh(p *retain.Pressure, used, free, extra int64, w wish) {
	limits := s.wished(w)
	_, can := s.st.(Limited)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.toll
	p.Came, p.Bytes = t.came, used
	p.Took = max(0, min(t.took, t.used-used))
	p.Need = max(t.owed, 0)
	if t.by != (bounds{limits, free}) {
		p.Came = 0
		if !t.holding {
			p.Need = 0
		}
	}
	if s.liftedNow || !can { // else what waits to be written is let in by lifting
		p.Need = max(p.Need, extra)
	}
}

// hides tells whether a space that says that nothing is free may be short of so
// much more, by its reserve, that it would wait for a person: as far as other
// programs fill its disk a storage does not tell. Without its limits it does.
// said is what it told, v the same by the limits in force.
func (s *space) hides(p *retain.Pressure, said, v Usage) bool {
	_, can := s.st.(Limited)
	s.mu.Lock()
	l, lifted := s.limits, s.liftedNow
	s.mu.Unlock()
	if !can || lifted || said.Free > 0 || l.Reserve == (Threshold{}) || p.Exceeds(0) {
		return false
	}
	worst := *p
	worst.Asked += max(0, l.Reserve.Of(v.Total)+v.Free)
	if l.Reserve.Percent > 0 && !l.showsDisk(said) {
		worst.Asked += p.Bytes // a share of a disk whose size is not known
	}
	return worst.Exceeds(0)
}

// doubt notes, in a pass that is real, whether it is hidden how much is missing.
func (s *space) doubt(real, unsure bool) {
	if real {
		s.mu.Lock()
		s.toll.unsure = unsure
		s.mu.Unlock()
	}
}

// footageIn is what a space holds of footage, by what was listed of it when it was
// summed last and by what has come and gone since. What a storage says is another
// thing while it counts, or where other data lies on its disk: it gets less though
// nothing went.
func (a *Archive) footageIn(s *space, id, now int64) (int64, error) {
	s.mu.Lock()
	f, net := s.footage, int64(s.stats.written+s.stats.put)-s.stats.gave
	s.mu.Unlock()
	if f.at != 0 {
		return max(f.sum+net-f.net, 0), nil
	}
	var sum sql.NullInt64
	err := a.cat.reader().QueryRow(fmt.Sprintf("SELECT sum(size) FROM files WHERE space = ? AND flags & %d = 0 AND flags & %d <> %d", rowOpen, rowGoing|rowReplaced, rowGoing|rowReplaced), id).Scan(&sum)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.footage = footage{sum.Int64, net, now}
	s.mu.Unlock()
	return sum.Int64, nil
}

// sumFootage sums what is listed of spaces, where that was not done or long ago: rows
// come and go for other reasons, too. Of a month of a hundred streams it takes a
// second, for which nobody waits: it is no part of a plan.
func (a *Archive) sumFootage(now int64) {
	for _, s := range a.allSpaces() {
		a.cat.mu.Lock()
		id, known := a.cat.spaces[s.cfg.Name]
		a.cat.mu.Unlock()
		s.mu.Lock()
		if at := s.footage.at; now-at >= int64(sumAgain) || now < at {
			s.footage = footage{}
		}
		s.mu.Unlock()
		if !known {
			continue
		}
		if _, err := a.footageIn(s, id, now); err != nil {
			a.log.Warn("what a space holds cannot be summed", "space", s.cfg.Name, "err", err)
		}
	}
}

const sumAgain = time.Hour

// footage is what was listed of a space.
type footage struct {
	sum int64
	net int64 // what had been written there, less what went, at that time
	at  int64 // Unix ns; 0 = it was not summed
}
