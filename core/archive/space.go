package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/fault"
)

// space is the archive's side of one storage space: the queue of what is not
// yet durable there, and the goroutine that sends it.
type space struct {
	tried chan struct{} // closed when the opening at start has ended, well or not
	a     *Archive
	cfg   Space
	st    Storage
	reads chan struct{} // at most 16 reads at once
	late  bool          // added while the archive ran

	fsync  atomic.Int64    // longest time between syncs, ns; 0 or less = none is promised
	homes  atomic.Int64    // streams that are recorded here
	breaks atomic.Int64    // how often its connection began and ended
	over   context.Context // ends when the space is removed
	quit   context.CancelFunc
	stop   context.CancelFunc // of ends; nil until they run
	ends   sync.WaitGroup

	mu                  sync.Mutex
	q                   []*chunk // oldest first: q[:sent] on the way, of which q[:wr] are written
	notes               uint64   // facts that were noted: the number of the last
	sent, wr            int
	bytes               int64 // in q
	held                int64 // waiting outside it for a key to be durable
	opened              bool
	info                SpaceInfo
	failing             string // why the space cannot be used at present; "" = it can
	failWhat            string // what the backend said
	failHint            string
	failedAt            time.Time
	failSince           time.Time
	syncedAt            time.Time     // when a sync was answered last, or the session began
	lost                bool          // what lies there is not this space
	strange             [16]byte      // the id of what lies there instead; zero = nothing
	accept              bool          // somebody said that what lies there is right
	restoring           bool          // from then on until it has been read
	taken               bool          // it is another space than before: nothing in it is this process's
	known               bool          // it is the space that it should be, and what grew in it was recovered: it may be scanned
	untouched           bool          // recovery at start did not end: nothing in it is this process's yet
	unread              []unreadFile  // growing files that could not be recovered (reread.go)
	readAgain           bool          // they are tried now
	readAfter           time.Duration // until they are tried; 0 = there are none
	leaving             bool          // nothing new comes here: it is to be removed
	wiping              bool          // likewise: everything in it is being deleted
	wipes               int           // how often that began
	arriving            int           // files that are being listed here instead of elsewhere
	scanning            bool
	scanDone, scanTotal int64
	endScan             context.CancelCauseFunc // of the scan under way
	scanEnded           chan struct{}           // is closed behind it
	stuck               bool                    // the session was ended because nothing was taken for long
	full                bool
	fullAt              time.Time // when it last said so
	stale               bool
	fails               int // failures since the last Synced
	usage               Usage
	found               int64    // free when retention looked last, before it deleted anything
	foundUsed           int64    // likewise, what it held
	counted             bool     // its storage tells all that it holds
	mute                mute     // it did not answer when it was asked how full it is
	came                int64    // written between then and usage, where that was measured after it
	low                 lowAlarm // what was told of alarm-free
	limits              Limits   // as the settings say
	lifted              bool     // the storage shall not go by them
	liftedNow           bool     // it does not, since it was opened last
	toll                toll
	undeletable         undeletable
	device              uint64 // its file system (deviceOf), since it was opened last
	deviceKnown         bool
	footage             footage
	seen                *reading // how full it was when retention looked last
	alone               bool     // what goes from other spaces on its disk makes no room in it (learnDisk)
	led                 *ledger
	seals               []*file
	upAgain             time.Duration // until what was given up is tried (takeup.go); 0 = nothing was
	upNow               bool          // it is tried with the next Synced
	empties             []*file       // given up, and all of it was written elsewhere: to be deleted
	stats               spaceStats
	pace                syncPace

	wake     chan struct{}
	sealWake chan struct{}
	retune   chan struct{} // it is to be opened again, with other settings
}

type spaceStats struct {
	written, synced, syncCalls uint64
	appends, syncs             uint64
	put                        uint64 // bytes of whole files that came from another space
	gave                       int64  // bytes that went, whatever for
	deleted                    int64  // bytes that plans have deleted
	appendTime, syncTime       time.Duration
	lastSync                   time.Duration
	reconnects, failures       uint64
}

func newSpace(a *Archive, cfg Space) *space {
	s := &space{a: a, cfg: cfg, st: cfg.Storage, tried: make(chan struct{}), reads: make(chan struct{}, 16),
		wake: make(chan struct{}, 1), sealWake: make(chan struct{}, 1), retune: make(chan struct{}, 1)}
	s.fsync.Store(int64(cfg.Fsync))
	s.found, s.limits = math.MaxInt64, cfg.Limits
	s.over, s.quit = context.WithCancel(context.Background())
	return s
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// push queues chunks; it never blocks.
func (s *space) push(cs []*chunk) {
	s.mu.Lock()
	for _, c := range cs {
		s.q = append(s.q, c)
		s.bytes += c.size
	}
	s.mu.Unlock()
	poke(s.wake)
}

// room tells whether n more bytes may be queued.
func (s *space) room(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.stale && s.bytes+s.held+n <= s.a.spaceLimit()
}

// usable tells whether new files should go here.
func (s *space) usable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened || s.stale || s.full || s.leaving || s.wiping || s.waitingLocked() > stallRoll {
		return false
	}
	// A space that everything was taken away from gets another chance.
	return s.failing == "" || len(s.q) == 0 && time.Since(s.failedAt) > retryFailed
}

// works tells whether what is queued here is written some time, as far as is known.
func (s *space) works() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened && !s.stale && !s.leaving && !s.wiping && s.failing == ""
}

const (
	stallRoll   = 10 * time.Second // new files go elsewhere when a space has taken nothing for so long
	stallMove   = 15 * time.Second // and then what waits for it
	retryFailed = time.Minute
)

// waitingLocked is how long the oldest chunk has waited to be written.
func (s *space) waitingLocked() time.Duration {
	if s.wr >= len(s.q) {
		return 0
	}
	return time.Since(s.q[s.wr].queued)
}

// watch ends a session in which nothing moves, if there is another space to go
// to. Without one, what waits stays where it is: nothing would be won.
func (s *space) watch(app Appender, done <-chan struct{}) {
	for everySecond(done) {
		s.mu.Lock()
		st := s.stuckLocked()
		s.mu.Unlock()
		if st != nil && s.a.elsewhere(st, s) != nil {
			s.mu.Lock()
			s.stuck = true
			s.mu.Unlock()
			app.Close()
			return
		}
	}
}

// stuckLocked is a stream of which a part waits too long to be written, or, while no
// sync is answered, to become durable; nil = there is none.
func (s *space) stuckLocked() *stream {
	if s.waitingLocked() > stallMove && s.q[s.wr].f != nil {
		return s.q[s.wr].f.st
	}
	promised := time.Duration(s.fsync.Load())
	if long := stallMove + promised; promised > 0 && len(s.q) > 0 && s.q[0].f != nil && time.Since(s.q[0].queued) > long && time.Since(s.syncedAt) > long {
		return s.q[0].f.st
	}
	return nil
}

// everySecond waits for a second; false = done was closed.
func everySecond(done <-chan struct{}) bool {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-done:
		return false
	case <-t.C:
		return true
	}
}

// run keeps a byte stream to the space open until ctx ends.
func (s *space) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.openWatched(ctx)
		if err == nil {
			if s.wholeOnly() {
				err = s.attend(ctx)
			} else {
				err = s.session(ctx)
			}
		}
		if ctx.Err() != nil {
			return
		}
		wait := s.handle(ctx, err)
		if !sleep(ctx, wait) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// openWatched is ensureOpen, which takes as long as a disk that hangs. What waits
// meanwhile goes elsewhere as from a session in which nothing moves.
func (s *space) openWatched(ctx context.Context) error {
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for everySecond(done) {
			if st := s.oldest(); st != nil && s.a.elsewhere(st, s) != nil {
				s.setFailing("error", "does not answer", fmt.Errorf("it has not been opened for %s", stallMove))
				s.failOver(ctx)
			}
		}
	})
	defer watch.Wait()
	defer close(done)
	return s.ensureOpen(ctx)
}

// oldest is the stream of the part that has waited longest, if that is too long; nil
// = there is none.
func (s *space) oldest() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.q, func(c *chunk) bool { return c.ent != nil })
	if i < 0 || time.Since(s.q[i].queued) <= stallMove {
		return nil
	}
	return s.q[i].f.st
}

// ensureOpen opens the space for our epoch; after a failure it is opened anew,
// because the backend may be a new process.
func (s *space) ensureOpen(ctx context.Context) error {
	s.mu.Lock()
	opened, first := s.opened, s.info.ID == [16]byte{}
	s.mu.Unlock()
	if opened {
		return nil
	}
	octx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	info, err := s.a.openStorage(octx, s)
	if err != nil {
		return fmt.Errorf("open space %s: %w", s.cfg.Name, err)
	}
	s.mu.Lock()
	wasLost := s.lost
	s.info, s.lost = info, false
	first = first || wasLost // what it holds growing belongs to the past
	s.opened = !first
	if first {
		s.failing = ""
	}
	s.mu.Unlock()
	if !first {
		return nil
	}
	// A space that was away at start.
	if wasLost {
		s.a.notify(Notice{Type: "storage.ok", Level: "info", Message: "space " + s.cfg.Name + " is there again", Data: map[string]any{"space": s.cfg.Name}})
	}
	if err := s.a.recoverFirst(ctx, s, false, func() {}); err != nil {
		s.mu.Lock()
		s.info = SpaceInfo{}
		s.mu.Unlock()
		return fmt.Errorf("recover space %s: %w", s.cfg.Name, err)
	}
	s.mu.Lock()
	s.opened = true
	s.mu.Unlock()
	s.a.settleRows(ctx, s)
	return nil
}

// reopen opens a space that works once more, for settings that changed. It
// counts as open meanwhile: nobody goes elsewhere for that.
func (s *space) reopen(ctx context.Context) bool {
	octx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	info, err := s.openAs(octx, 0, false)
	s.mu.Lock()
	same := err == nil && info.ID == s.info.ID
	s.mu.Unlock()
	if !same {
		return false // the long way: it says what is wrong
	}
	if u, err := s.st.Usage(octx); err == nil {
		s.setUsage(u)
	}
	poke(s.a.ensured) // there may be less room now
	return true
}

// appendError is a Failed answer.
type appendError struct{ AppendResult }

func (e *appendError) Error() string {
	if e.Message != "" {
		return e.Reason.String() + ": " + e.Message
	}
	return e.Reason.String()
}

// session sends over one Appender until it breaks. Whatever is not synced
// then is sent again over the next one: offsets make that harmless.
func (s *space) session(ctx context.Context) error {
	app, err := s.st.Append(ctx)
	if err != nil {
		return err
	}
	s.breaks.Add(1)
	defer s.breaks.Add(1)
	s.mu.Lock()
	s.sent, s.wr, s.syncedAt = 0, 0, time.Now()
	s.mu.Unlock()
	broken := make(chan error, 1)
	go func() { broken <- s.receive(app) }()
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(app, done) })
	defer watch.Wait()
	defer close(done)
	err = s.send(ctx, app, broken)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errRetune) {
		// Why sending failed is the last answer: let it come.
		select {
		case e := <-broken:
			broken <- e
		case <-time.After(time.Second):
		}
	}
	app.Close()
	e := <-broken
	var ae *appendError
	if err == nil || errors.As(e, &ae) {
		err = e // a refusal says more than the broken stream that follows it
	}
	return err
}

// send hands over chunk after chunk. broken is left full for session.
func (s *space) send(ctx context.Context, app Appender, broken chan error) error {
	var seq uint64
	for {
		s.mu.Lock()
		var c *chunk
		again := false
		if s.sent < len(s.q) {
			c = s.q[s.sent]
			// What was written once must not make a file anew: it may have
			// got its final name meanwhile.
			again = c.written
			seq++
			c.seq, c.sentAt = seq, time.Now()
			s.sent++
		}
		s.mu.Unlock()
		if c == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-broken:
				broken <- err
				return nil
			case <-s.retune:
				return errRetune
			case <-s.wake:
			}
			continue
		}
		err := app.Send(AppendData{Sequence: seq, Name: c.name(), Offset: c.off, ReserveTo: c.reserve, Create: c.create && !again, Payload: c.data})
		if err != nil {
			return err
		}
	}
}

// receive applies answers until the stream ends.
func (s *space) receive(app Appender) error {
	for {
		r, err := app.Recv()
		if err != nil {
			return err
		}
		switch r.Kind {
		case Written:
			s.onWritten(r.Sequence)
		case Synced:
			s.onSynced(r)
		case Failed:
			return &appendError{r}
		}
	}
}

func (s *space) onWritten(seq uint64) {
	now := time.Now()
	s.mu.Lock()
	from := s.wr
	for s.wr < s.sent && s.q[s.wr].seq <= seq {
		c := s.q[s.wr]
		if !c.written { // else it was sent again
			s.stats.written += uint64(c.size)
		}
		s.stats.appends++
		s.stats.appendTime += now.Sub(c.sentAt)
		s.wr++
	}
	done := append([]*chunk(nil), s.q[from:s.wr]...)
	s.mu.Unlock()
	for _, c := range done {
		c.onWritten(s)
	}
}

// settled takes the chunks of a file out of the queue: all of it is written,
// and sealing makes it durable.
func (s *space) settled(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := make([]*chunk, 0, len(s.q))
	sent, wr := s.sent, s.wr
	for i, c := range s.q {
		if c.f != f {
			q = append(q, c)
			continue
		}
		s.bytes -= c.size
		if i < s.sent {
			sent--
		}
		if i < s.wr {
			wr--
		}
	}
	s.q, s.sent, s.wr = q, sent, wr
}

func (c *chunk) onWritten(s *space) {
	s.mu.Lock()
	known := c.written && c.heldBy == s.breaks.Load()
	c.written, c.heldBy = true, s.breaks.Load()
	s.mu.Unlock()
	if c.f == nil || known {
		return
	}
	c.f.mu.Lock()
	c.f.written = max(c.f.written, c.end())
	// What is sent again waits for its last byte anew.
	ready := c.f.state == sealing && c.f.written == c.f.size && c.end() == c.f.size
	c.f.mu.Unlock()
	if ready {
		s.sealSoon(c.f)
	}
}

func (s *space) onSynced(r AppendResult) {
	s.onWritten(r.Sequence)
	s.mu.Lock()
	n := 0
	for n < s.sent && s.q[n].seq <= r.Sequence {
		s.bytes -= s.q[n].size
		s.stats.synced += uint64(s.q[n].size)
		n++
	}
	done := append([]*chunk(nil), s.q[:n]...)
	clear(s.q[:n])
	s.q = s.q[n:]
	s.sent -= n
	s.wr = max(0, s.wr-n)
	s.syncedAt = time.Now()
	s.stats.syncs++
	s.stats.syncTime += r.Took
	s.stats.lastSync = r.Took
	s.stats.syncCalls = r.Calls
	if n > 0 {
		s.fails = 0
	}
	cleared := n > 0 && s.failing != ""
	room := n > 0 && s.fullLocked()
	if n > 0 {
		s.failing, s.full = "", false
	}
	s.mu.Unlock()
	if cleared {
		s.a.notify(Notice{Type: "storage.ok", Level: "info", Message: "space " + s.cfg.Name + " takes data again", Data: map[string]any{"space": s.cfg.Name}})
	}
	if n > 0 {
		s.takeUpAll()
	}
	if room {
		poke(s.a.measure) // it takes data: it may not be full any more
	}
	s.paced(r.Took)
	touched := map[*stream]bool{}
	for _, c := range done {
		if st := c.onSynced(); st != nil {
			touched[st] = true
		}
	}
	for st := range touched {
		st.advance()
	}
}

// onSynced marks the bytes durable and returns the stream to advance.
func (c *chunk) onSynced() *stream {
	if c.f == nil {
		return nil
	}
	f := c.f
	f.mu.Lock()
	if c.synced { // by a sync and by sealing
		f.mu.Unlock()
		return nil
	}
	c.synced = true
	f.doubt = false
	f.synced = max(f.synced, c.end())
	for len(f.pending) > 0 && f.pending[0].end() <= f.synced {
		f.pending[0] = nil
		f.pending = f.pending[1:]
	}
	f.mu.Unlock()
	if c.ent == nil {
		return nil
	}
	c.ent.st.mu.Lock()
	c.ent.left--
	c.ent.st.mu.Unlock()
	return c.ent.st
}

// handle decides what follows a broken session and how long to wait first.
func (s *space) handle(ctx context.Context, err error) time.Duration {
	var ae *appendError
	errors.As(err, &ae)
	if errors.Is(err, errRetune) && s.reopen(ctx) {
		return 0
	}
	s.mu.Lock()
	s.opened, s.counted = false, false
	s.fails++
	s.stats.reconnects++
	fails, stuck := s.fails, s.stuck
	s.stuck = false
	if ae != nil {
		s.stats.failures++
	}
	s.mu.Unlock()
	wait := min(100*time.Millisecond<<min(fails-1, 6), 5*time.Second)
	switch {
	case errors.Is(err, errLost):
		s.setLost()
		s.setFailing("error", "lost", err)
		s.failOver(ctx)
		return min(wait, time.Second)
	case errors.Is(err, StaleEpochError) || ae != nil && ae.Reason == FailStaleEpoch:
		s.mu.Lock()
		s.stale = true
		s.mu.Unlock()
		s.setFailing("error", "taken over by a newer server process", err)
		<-ctx.Done()
		return 0
	case stuck:
		s.setFailing("error", "takes no data", fmt.Errorf("nothing was written, or became durable, for %s", stallMove))
		s.failOver(ctx)
		return wait
	case ae == nil:
		// The backend died or does not answer: parts wait for it.
		s.a.log.Warn("connection to storage lost", "space", s.cfg.Name, "err", err)
		if fails >= 3 {
			s.setFailing("warning", "does not answer", err)
			s.mu.Lock()
			long := s.waitingLocked() > stallRoll
			s.mu.Unlock()
			if long {
				s.failOver(ctx)
			}
		}
		return wait
	case ae.Reason == FailNoSpace || ae.Reason == FailLimit:
		s.mu.Lock()
		first := !s.full
		s.full, s.fullAt = true, time.Now()
		s.mu.Unlock()
		if first {
			poke(s.a.measure) // the reserve is reached: that is told there
			s.a.notify(Notice{Type: "storage.full", Level: "error", Message: fmt.Sprintf("space %s is full", s.cfg.Name), Data: map[string]any{"space": s.cfg.Name}})
		}
		made, stuck := s.a.makeRoom(ctx, s)
		if made {
			return 0
		}
		if fails >= 3 || stuck {
			s.failOver(ctx)
		}
		return min(wait, time.Second)
	case ae.Reason == FailNotFound || ae.Reason == FailBadOffset:
		what, later := s.abandon(ctx, ae.Name, s.leftOf(ctx, ae.Name))
		if what != "" {
			s.setFailing("error", what, err)
		}
		if later {
			return wait
		}
		return 0
	default:
		if ae.Reason == FailSync {
			s.inDoubt()
		}
		s.setFailing("error", "cannot be written to", err)
		if fails >= 2 || ae.Reason == FailReadOnly {
			s.failOver(ctx)
		}
		return wait
	}
}

func (s *space) setFailing(level, what string, err error) {
	s.mu.Lock()
	first := s.failing == "" || s.failing != what && what == "lost"
	if s.failing == "" {
		s.failSince = time.Now()
	}
	s.failedAt = time.Now()
	s.failing, s.failWhat, s.failHint = what, fmt.Sprint(err), ""
	if p := new(fault.Problem); errors.As(err, &p) {
		s.failWhat, s.failHint = p.What, p.Hint
	}
	s.mu.Unlock()
	if first {
		s.a.notify(Notice{Type: "storage.failed", Level: level, Message: fmt.Sprintf("space %s: %s: %v", s.cfg.Name, what, err),
			Data: map[string]any{"space": s.cfg.Name, "error": fmt.Sprint(err)}})
	}
}

// fullLately: a full space takes a small append now and then, and is full again
// with the next part. What waits longer than that waits because it is full.
const fullLately = 30 * time.Second

// ails says in the words of ranges.json why the space takes nothing.
func (s *space) ails() GapCause {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full || !s.fullAt.IsZero() && time.Since(s.fullAt) < fullLately {
		return GapDiskFull
	}
	return GapDiskError
}
