package jobs

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/archive"
	"media-server/core/export"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/mp4"
)

// Source is the footage that is exported. Safe for concurrent use.
type Source interface {
	export.Footage
	// Record plans the MP4 of a span; errors as those of mp4.Server.
	Record(uid string, s media.Span) (*mp4.Movie, error)
	// Recorded tells how much footage lies in a span, and how much of it has
	// not been groomed.
	Recorded(uid string, s media.Span) (all, whole time.Duration, err error)
	// Statement is what the server says in the proof of an export, and the key
	// that it signs with.
	Statement(Job) (export.Statement, archive.Signer, error)
}

// Notice is something an operator may want to know; Type is record.export.
type Notice struct {
	Type, Level, UID, Message string
	Data                      map[string]any
}

// Options say where exports go.
type Options struct {
	Dir    string // Config.Path, or its default
	Config Config
	Source Source
	// Reserve is what recordings keep free on the disk of Dir, which takes total
	// bytes in all; may be nil.
	Reserve func(total int64) int64
	// Ready waits until the footage is listed as a whole, behind a start; may be nil.
	Ready func(ctx context.Context) error
	// Busy tells that the recording's disks are behind; may be nil.
	Busy   func() bool
	Notify func(Notice)
	Zone   func() *time.Location // of times in messages; nil = UTC
	Log    *slog.Logger          // nil = silent
	// Disk tells what is free on the disk of a folder, and what it takes in all;
	// nil = the system's word.
	Disk func(dir string) (free, total int64, err error)

	stop func(step string) bool // tests: die here
	sync func(dir string) error // tests: of a folder whose file was published
}

// Bounds: jobs that wait, jobs that are listed, and how often one is begun that
// was never ended or given back.
const (
	mostQueued   = 100
	mostJobs     = 2000
	mostAttempts = 5
)

// Jobs are the exports of a server. All methods are safe for concurrent use.
type Jobs struct {
	o    Options
	wake chan struct{} // a job was queued

	mu      sync.Mutex
	jobs    map[string]*job
	asking  int // that are being planned before they are queued
	open    bool
	ended   bool
	broken  error  // why the folder cannot be used
	strange []left // records that were left alone
}

// job is a Job and what only a running server has of it. Its Job is guarded by
// Jobs.mu.
type job struct {
	Job
	saved    bool // its record lies on the disk, so that it may be told of
	dropping bool
	cancel   context.CancelFunc // of the worker; nil unless it runs
	left     chan struct{}      // closed when who works on it has let go of it

	saving    sync.Mutex   // of its record; before Jobs.mu
	written   atomic.Int64 // bytes of the file
	proofSize atomic.Int64 // bytes of the proof
	read      atomic.Int64 // bytes read for the proof
}

// New makes the exports of a folder; nothing is read before Run.
func New(o Options) *Jobs {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Zone == nil {
		o.Zone = func() *time.Location { return time.UTC }
	}
	if o.Notify == nil {
		o.Notify = func(Notice) {}
	}
	if o.Disk == nil {
		o.Disk = statfs
	}
	return &Jobs{o: o, wake: make(chan struct{}, 1), jobs: map[string]*job{}, broken: failure(CodeStopping, "ask again in a moment", "the server is still starting")}
}

// stopWait is how long a server that stops waits for the disk of its exports.
const stopWait = 5 * time.Second

// Run reads the folder, goes on with what was begun, and works until ctx ends;
// then what runs is given back to the queue. It fails never: a server whose
// export folder is away records all the same. A disk that hangs is waited for
// stopWait, then left: nothing can end a call to it, and the server has to stop.
func (j *Jobs) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { j.janitor(ctx) })
	wg.Go(func() { j.worker(ctx) })
	left := make(chan struct{})
	go func() { wg.Wait(); close(left) }()
	<-ctx.Done()
	if !await(left, stopWait) {
		j.o.Log.Warn("the disk of the exports does not answer; the server stops without it", "dir", j.o.Dir, "hint", "see [export] path")
	}
	j.mu.Lock()
	j.ended = true
	j.mu.Unlock()
	return nil
}

func now() media.Wall { return media.WallOf(time.Now()) }

func (j *Jobs) path(name string) string { return filepath.Join(j.o.Dir, name) }

func newID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// put makes the record of a job what the job is now. Whoever changed it first is
// not written last: the state is read when its turn has come.
func (j *Jobs) put(x *job) error {
	x.saving.Lock()
	defer x.saving.Unlock()
	j.mu.Lock()
	c, there := x.Job, j.jobs[x.ID] == x
	j.mu.Unlock()
	if !there {
		return nil
	}
	return j.save(c)
}

// Get is one job.
func (j *Jobs) Get(id string) (Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	x := j.jobs[id]
	if x == nil || !x.saved || x.Unwanted {
		return Job{}, ErrNoJob
	}
	return j.view(x), nil
}

// List lists all jobs, newest first.
func (j *Jobs) List() []Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Job, 0, len(j.jobs))
	for _, x := range j.jobs {
		if x.saved && !x.Unwanted {
			out = append(out, j.view(x))
		}
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Or(cmp.Compare(b.Made, a.Made), cmp.Compare(b.ID, a.ID)) })
	return out
}

// view is the job as it is told. j.mu is held.
func (j *Jobs) view(x *job) Job {
	v := x.Job
	switch v.State {
	case Done, Expired:
		v.Bytes, v.Progress = v.Size, 1
	case Running, Failed, Canceled:
		v.Bytes = x.written.Load()
		work, all := v.Bytes, v.Size
		if v.Proof {
			work, all = work+min(x.read.Load(), v.Size), 2*v.Size
		}
		if all > 0 {
			v.Progress = min(float64(work)/float64(all), 1)
		}
	}
	if v.State.Over() && j.o.Config.Keep > 0 {
		v.ExpireAt = v.Ended.Add(j.o.Config.Keep)
	}
	return v
}

// Problem says why nothing can be exported, or what in the folder was left
// alone; nil = all is well.
func (j *Jobs) Problem() *fault.Problem {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.broken != nil && !j.ended:
		f := failureOf(j.broken)
		if f.Code == CodeStopping {
			return nil
		}
		return &fault.Problem{Where: "[export]", What: "nothing can be exported in the background: " + f.What, Hint: f.Hint}
	case len(j.strange) > 0:
		return &fault.Problem{Level: fault.Warning, Where: "[export]", What: "records of exports were left alone: " + j.strange[0].why,
			Hint: "run the server that wrote them, or delete them in " + j.path(recordsDir)}
	}
	return nil
}
