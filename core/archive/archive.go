package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/fault"
	"media-server/core/media"
)

// Archive is the media database. All methods are safe for concurrent use.
type Archive struct {
	o          Options
	log        *slog.Logger
	cat        *catalogue
	state      *stateStore
	layouts    *layoutCache
	places     atomic.Pointer[places]
	endings    endings // of moves
	closed     atomic.Bool
	counter    atomic.Uint32
	counters   counters
	locks      locks
	asked      asked
	unfinished atomic.Bool // files may be left whose deletion was decided
	knowsLocks atomic.Bool // all ledgers were read since state.db was lost, or it never was

	mu      sync.Mutex
	streams map[string]*stream
	files   map[FileID]*file // growing, sealing, sealed but not yet in the catalogue
	pins    map[FileID]*pinned
	usage   map[string]*account // what streams take, by uid
	signed  map[string]lastSigned
	ciphers ciphers
	plain   *plainCache
	damage  map[plainKey]bool // parts that were told of; mu
	keyless atomic.Bool       // it was said that pools cannot encrypt
	ending  <-chan struct{}   // closed when the databases' writers end

	lockAlarms map[string]LockAlarm // by pool
	keepRisks  map[string]KeepAlarm // by uid
	keepBroken map[string]broke     // likewise
	stays      shares
	toMend     []string        // spaces to rebuild in the background; "" = all
	untold     map[*space]bool // whose scan waits until it is known what they are
	toRead     map[string]bool // spaces that the last rebuild of all could not read

	change sync.Mutex      // spaces and pools are changed one at a time
	work   context.Context // of spaces while Run runs, else nil; with change
	front  context.Context // of movers, likewise

	leftStop context.CancelFunc // of leftovers; with change
	leftEnds sync.WaitGroup

	struck map[FileID]bool // found missing; their rows are being removed
	look   chan string     // spaces to be compared with their lists

	ensured   chan struct{} // asks retention to look at once
	measure   chan struct{} // asks it to look at the thresholds only: nothing is deleted for that
	mend      chan struct{} // something is in toMend
	jobs      chan func(context.Context)
	dbCtx     context.Context
	dbs       context.CancelFunc
	dbDone    sync.WaitGroup
	rebuild   sync.Mutex            // one rebuild at a time
	plan      turn                  // one plan is carried out at a time
	expiredTo map[string]media.Wall // as noted in ledgers, by stream; mu
	dels      deletions
	open      descriptors
}

type counters struct {
	behind, tornTails, setAside, recovered, cutResponses, deleted, deletedBytes atomic.Int64
}

// Open opens the databases, makes the spaces ready and recovers what was
// growing in them. A space that does not answer is not an error: it is tried
// again by Run. The writers of the databases start here and end with Close.
func Open(ctx context.Context, o Options) (*Archive, error) {
	a, err := newArchive(o)
	if err != nil {
		return nil, err
	}
	o = a.o
	if a.state, err = openState(ctx, &o); err != nil {
		return nil, fault.Wrap(err, "state.db", "the archive's state cannot be opened", "restore it from a backup, or move it away: locks and gap causes are then read from the ledgers of the spaces")
	}
	if a.cat, err = openCatalogue(ctx, &o); err != nil {
		a.state.close()
		return nil, fault.Wrap(err, "catalogue.db", "the catalogue cannot be opened", "move it away: it is rebuilt from the media files")
	}
	unread, err := a.state.isDue("ledgers") // also where an earlier process had begun
	if err != nil {
		a.cat.close()
		a.state.close()
		return nil, fault.Wrap(err, "state.db", "it cannot be read", "restore it from a backup, or move it away: locks are then read from the ledgers of the spaces")
	}
	a.knowsLocks.Store(!unread)
	a.state.locked = func() {
		if err := a.loadLocks(); err != nil {
			a.log.Warn("locks cannot be read", "err", err)
		}
	}
	if err := errors.Join(a.loadLocks(), a.loadSigned(), a.loadDue(a.allSpaces()...), a.loadTolls(a.allSpaces()...), a.loadConfirms()); err != nil {
		a.cat.close()
		a.state.close()
		return nil, fault.Wrap(err, "state.db", "locks cannot be read", "restore it from a backup, or move it away: locks are then read from the ledgers of the spaces")
	}
	dbCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.dbCtx, a.dbs = dbCtx, cancel
	a.endWith(dbCtx)
	a.dbDone.Go(func() { a.state.run(dbCtx, nil) })
	a.dbDone.Go(func() { a.cat.run(dbCtx, a.mendCatalogue) })
	if unread {
		err = a.cat.setIncomplete(ctx, true)
	}
	if a.cat.incomplete.Load() {
		a.wantRebuild("")
	}
	a.openSpaces(ctx)
	return a, errors.Join(err, ctx.Err())
}

// startWait is how long Open waits for its spaces. One that takes longer (a
// plugin that is not there yet, a mount that hangs) goes on opening; PoolReady
// tells which pools wait for it.
const startWait = 2 * time.Second

// openSpaces opens all spaces at once.
func (a *Archive) openSpaces(ctx context.Context) {
	all := make(chan struct{})
	var wg sync.WaitGroup
	for _, s := range a.allSpaces() {
		wg.Add(1)
		a.dbDone.Go(func() {
			defer wg.Done()
			a.openFirst(s)
		})
	}
	a.dbDone.Go(func() {
		wg.Wait()
		close(all)
	})
	t := time.NewTimer(startWait)
	defer t.Stop()
	select {
	case <-all:
	case <-t.C:
	case <-ctx.Done():
	}
}

// openFirst opens a space for the first time; it ends with the databases, or
// with the space.
func (a *Archive) openFirst(s *space) {
	defer close(s.tried)
	ctx, cancel := context.WithCancel(a.dbCtx)
	defer cancel()
	stop := context.AfterFunc(s.over, cancel)
	defer stop()
	a.openSpace(ctx, s)
	a.settleRows(ctx, s) // before anybody asks where a recording ended
}

// Opened waits until every space has been opened, or has failed to be.
func (a *Archive) Opened(ctx context.Context) error {
	for _, s := range a.allSpaces() {
		select {
		case <-s.tried:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// PoolReady tells whether every space of a pool ("" = the first) has been
// opened, or has failed to be: only then does a recorder know what there is to
// be resumed. Safe for concurrent use.
func (a *Archive) PoolReady(name string) bool {
	p, err := a.pool(name)
	if err != nil {
		return true // Recorder will say what is wrong
	}
	for _, sp := range p.recordsIn() {
		if s := a.space(sp); s != nil {
			select {
			case <-s.tried:
			default:
				return false
			}
		}
	}
	return true
}

func newArchive(o Options) (*Archive, error) {
	if o.WriteBuffer <= 0 {
		o.WriteBuffer = 30 * time.Second
	}
	if o.WriteBufferMax <= 0 {
		o.WriteBufferMax = 512 << 20
	}
	if o.ResumeGrace <= 0 {
		o.ResumeGrace = time.Minute
	}
	if o.LayoutCache <= 0 {
		o.LayoutCache = 32 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.Epoch == 0 || o.Epoch >= 1<<32 {
		return nil, fmt.Errorf("archive: epoch %d is not in 1..2^32-1", o.Epoch)
	}
	if len(o.Spaces) == 0 {
		return nil, fault.New("archive", "there is no storage space", "add a [space.NAME] section")
	}
	a := &Archive{o: o, log: o.Log, layouts: newLayoutCache(o.LayoutCache), plain: newPlainCache(plainCacheSize),
		streams: map[string]*stream{}, files: map[FileID]*file{}, pins: map[FileID]*pinned{}, usage: map[string]*account{}, signed: map[string]lastSigned{},
		ensured: make(chan struct{}, 1), measure: make(chan struct{}, 1), mend: make(chan struct{}, 1), jobs: make(chan func(context.Context)),
		struck: map[FileID]bool{}, look: make(chan string, 8), untold: map[*space]bool{}, locks: locks{making: map[LockID]Lock{}}}
	a.plan, a.expiredTo = make(turn, 1), map[string]media.Wall{}
	a.dels.over, a.dels.end = context.WithCancel(context.Background())
	p := &places{pools: slices.Clone(o.Pools)}
	for _, cfg := range o.Spaces {
		p.spaces = append(p.spaces, newSpace(a, cfg))
	}
	if len(p.pools) == 0 {
		p.pools = []Pool{{Name: "default", Spaces: []string{o.Spaces[0].Name}, Overwrite: true, OverwriteFree: Threshold{Percent: 10}, AlarmFree: Threshold{Percent: 10}}}
	}
	for _, in := range tiersOf(p.pools) {
		p.movers = append(p.movers, newMover(a, in))
	}
	for i := range p.pools {
		if p.pools[i].GroomAfter > 0 {
			p.groomers = append(p.groomers, newGroomer(a, &p.pools[i]))
		}
	}
	a.places.Store(p)
	return a, a.checkPools(p.pools)
}

// spaceLimit is how much may wait for one space: an equal share.
func (a *Archive) spaceLimit() int64 { return a.o.WriteBufferMax / int64(max(1, len(a.allSpaces()))) }

const (
	openWait    = 20 * time.Second // a space that nothing is heard of for so long at start goes on opening in the background
	recoverMost = time.Minute      // and so does one that takes longer to recover: recordings have waited long enough
)

// openSpace opens a space at start, within bounds so that one that hangs does
// not keep the others from recording.
func (a *Archive) openSpace(ctx context.Context, s *space) {
	octx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	s.mu.Lock()
	strange := s.taken // by an earlier process: what grew there is no run of ours
	s.mu.Unlock()
	info, err := a.openStorage(octx, s)
	if errors.Is(err, errLost) {
		s.setLost()
		s.setFailing("error", "lost", err)
		return
	}
	if err == nil {
		err = a.recoverAtStart(ctx, s, !s.late && !strange)
	}
	if err != nil {
		s.setFailing("error", "cannot be opened", err)
		return
	}
	s.mu.Lock()
	s.opened, s.info = true, info
	s.mu.Unlock()
	uctx, done := context.WithTimeout(ctx, openWait)
	defer done()
	if u, err := s.st.Usage(uctx); err == nil {
		s.setUsage(u)
	}
}

// recoverAtStart gives recovery time as long as it gets on: what it does not
// find now cannot be resumed.
func (a *Archive) recoverAtStart(ctx context.Context, s *space, atStart bool) error {
	ctx, cancel := context.WithTimeout(ctx, recoverMost)
	defer cancel()
	hangs := time.AfterFunc(openWait, cancel)
	defer hangs.Stop()
	return a.recoverFirst(ctx, s, atStart, func() { hangs.Reset(openWait) })
}

// Run does the archive's work until ctx ends: sending, sealing, retention,
// rebuilding. Whoever records closes the recorders first. What is queued then
// has a few seconds to get to storage.
func (a *Archive) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	a.change.Lock()
	a.work, a.front = work, ctx
	for _, s := range a.allSpaces() {
		a.startSpace(s)
	}
	for _, m := range a.places.Load().movers {
		a.startMover(m)
	}
	for _, g := range a.places.Load().groomers {
		a.startGroomer(g)
	}
	a.startLeftovers()
	a.change.Unlock()
	wg.Go(func() { a.retention(ctx) })
	wg.Go(func() { a.mender(ctx) })
	wg.Go(func() { a.worker(ctx) })
	wg.Go(func() { a.looker(ctx) })
	<-ctx.Done()
	a.closed.Store(true)
	a.drain(5 * time.Second)
	a.endDeletions()
	stop()
	a.change.Lock() // nothing is started any more
	a.work, a.front = nil, nil
	a.change.Unlock()
	for _, s := range a.allSpaces() {
		s.ends.Wait()
	}
	for _, m := range a.places.Load().movers {
		m.ends.Wait()
	}
	for _, g := range a.places.Load().groomers {
		g.ends.Wait()
	}
	a.leftEnds.Wait()
	wg.Wait()
	a.dels.all.Wait()
	return nil
}

// drain waits until nothing is queued any more, or for d.
func (a *Archive) drain(d time.Duration) {
	deadline := time.Now().Add(d)
	for time.Now().Before(deadline) {
		left := 0
		for _, s := range a.allSpaces() {
			s.mu.Lock()
			if s.failing == "" && s.opened {
				left += len(s.q) + len(s.seals) + int(min(s.held, 1))
			}
			s.mu.Unlock()
		}
		if left == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Close ends the databases' writers. Call it after Run has returned (or
// instead of it).
func (a *Archive) Close() {
	a.closed.Store(true)
	a.endDeletions()
	a.dels.all.Wait()
	a.change.Lock()   // a change under way ends first
	a.change.Unlock() //nolint:staticcheck // empty on purpose
	a.dbs()
	a.dbDone.Wait()
	a.cat.close()
	a.state.close()
	a.releaseAll()
	a.open.close()
}

// releaseAll lets go of parts that storage never took.
func (a *Archive) releaseAll() {
	for _, st := range a.allStreams() {
		st.mu.Lock()
		for _, e := range st.ahead {
			e.part.Release()
		}
		st.ahead = nil
		st.mu.Unlock()
	}
}

// allStreams lists the streams in memory. st.mu comes before a.mu, so nobody
// walks the map with a.mu held and locks its streams.
func (a *Archive) allStreams() []*stream {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*stream, 0, len(a.streams))
	for _, st := range a.streams {
		out = append(out, st)
	}
	return out
}

func (a *Archive) notify(n Notice) {
	if a.o.Notify != nil {
		a.o.Notify(n)
	}
}

// nextFile mints a file id.
func (a *Archive) nextFile() FileID { return FileID(a.o.Epoch<<32 | uint64(a.counter.Add(1))) }

func (a *Archive) addFile(f *file) {
	a.mu.Lock()
	a.files[f.id] = f
	a.mu.Unlock()
}

// file finds a file that is still in memory.
func (a *Archive) file(id FileID) *file {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.files[id]
}

// forget drops a file that the catalogue describes now.
func (a *Archive) forget(f *file) {
	f.st.mu.Lock()
	for i, g := range f.st.files {
		if g == f {
			f.st.files = append(f.st.files[:i:i], f.st.files[i+1:]...)
			break
		}
	}
	f.st.mu.Unlock()
	a.mu.Lock()
	if a.files[f.id] == f {
		delete(a.files, f.id)
	}
	a.mu.Unlock()
}

// mendCatalogue replaces a catalogue that turned out to be damaged, in its
// writer goroutine; the rebuild follows in the background.
func (a *Archive) mendCatalogue(cause error) {
	a.log.Error("catalogue is damaged and is rebuilt from the media files", "err", cause)
	a.cat.close()
	ctx := context.Background()
	if err := errors.Join(a.cat.putAside(), a.cat.connect(ctx), a.cat.load()); err != nil {
		a.log.Error("catalogue cannot be made anew", "err", err)
		return
	}
	a.mu.Lock()
	var open []*file
	for _, f := range a.files {
		open = append(open, f)
	}
	a.toRead = nil // all are read again
	a.mu.Unlock()
	for _, f := range open {
		a.cat.reopened(f, nil)
	}
	a.wantRebuild("")
}
