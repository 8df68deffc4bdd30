package jobs

import (
	"media-server/core/export"
	"media-server/core/mp4"
)

// Create queues an export, and tells what it will be. Errors are a *Failure, or
// those of Source for a span that cannot be exported.
func (j *Jobs) Create(a Ask) (Job, error) {
	name := nameOf(a.UID, a.Span)
	if a.Name != "" {
		var err error
		if name, err = CleanName(a.Name); err != nil {
			return Job{}, err
		}
	}
	if err := j.enter(); err != nil {
		return Job{}, err
	}
	defer j.leave()
	m, err := j.o.Source.Record(a.UID, a.Span)
	if err != nil {
		return Job{}, err
	}
	defer m.Body.Release()
	x := &job{Job: Job{ID: newID(), Ask: a, State: Queued, Made: now()}}
	x.planned(m)
	if x.Recorded, x.Whole, err = j.o.Source.Recorded(a.UID, a.Span); err != nil {
		return Job{}, err
	}
	if err := j.admit(x, name); err != nil {
		return Job{}, err
	}
	if err := j.put(x); err != nil {
		j.mu.Lock()
		delete(j.jobs, x.ID)
		j.mu.Unlock()
		return Job{}, failureOf(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	x.saved = true
	j.poke()
	return j.view(x), nil
}

func (x *Job) planned(m *mp4.Movie) { x.Size, x.Covers = m.Body.Size(), m.Span }

func (j *Jobs) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// enter counts who is about to queue a job, so that no more plan at a time than
// may wait.
func (j *Jobs) enter() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	waiting := j.asking
	for _, x := range j.jobs {
		if x.State == Queued {
			waiting++
		}
	}
	switch {
	case j.broken != nil:
		return failureOf(j.broken)
	case j.ended:
		return failure(CodeStopping, "ask again when it is up", "the server is being stopped")
	case waiting >= mostQueued:
		return failure(CodeTooMany, "ask again when some of them are done, or cancel some", "%d exports wait already", waiting)
	}
	j.asking++
	return nil
}

func (j *Jobs) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asking--
}

// admit gives a job its name and its place, if there is room for its file beside
// those that others will get. The folder is asked before the lock is taken: where
// its disk hangs, nobody else is to wait.
func (j *Jobs) admit(x *job, name string) error {
	d, err := j.askDisk()
	if err != nil {
		return failureOf(err)
	}
	for n := range 10 * mostJobs {
		c := numbered(name, n)
		if j.taken(c) || j.exists(c) || j.exists(c+export.Suffix) {
			continue
		}
		old, placed, err := j.place(x, c, d)
		if old != nil {
			j.forgetOld(old)
		}
		if err != nil || placed {
			return err
		}
	}
	return failure(CodeBadName, "give another file_name", "all numbered names of %s are taken", name)
}

// place enters a job under a name, unless another has it meanwhile. old is the job
// that was dropped for it, whose record is to be deleted.
func (j *Jobs) place(x *job, name string, d diskFacts) (old *job, placed bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.named(name) {
		return nil, false, nil
	}
	all, open := j.promised(x)
	if err := j.fits(d, x.Size+open, x.Size+all); err != nil {
		return nil, false, failureOf(err)
	}
	if len(j.jobs) >= mostJobs {
		if old = j.crowd(); old == nil {
			return nil, false, failure(CodeTooMany, "delete exports that are not needed", "%d exports are kept already", len(j.jobs))
		}
	}
	x.File = name
	j.jobs[x.ID] = x
	return old, true, nil
}

// crowd drops the oldest job that has no file, where the list is full; nil = all
// have. j.mu is held.
func (j *Jobs) crowd() (oldest *job) {
	for _, x := range j.jobs {
		if x.saved && x.State.Over() && !x.holds() && !x.dropping && (oldest == nil || x.Ended < oldest.Ended) {
			oldest = x
		}
	}
	if oldest != nil {
		delete(j.jobs, oldest.ID)
	}
	return oldest
}

func (j *Jobs) forgetOld(x *job) {
	x.saving.Lock()
	defer x.saving.Unlock()
	if err := j.forget(x.ID); err != nil {
		j.o.Log.Warn("the record of an old export stays", "export", x.ID, "err", err)
	}
}
