package jobs

import (
	"context"
	"errors"
	"os"
	"time"

	"media-server/core/export"
)

const (
	lookMost  = time.Minute
	lookLeast = time.Second
	// expiredFor is how long it is told that an export has expired, at most.
	expiredFor = time.Hour
)

// janitor opens the folder, again and again where it is away, and lets go of
// what has been kept long enough.
func (j *Jobs) janitor(ctx context.Context) {
	every := lookMost
	if k := j.o.Config.Keep; k > 0 {
		every = min(max(k/4, lookLeast), lookMost)
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		j.mu.Lock()
		open := j.open
		j.mu.Unlock()
		if open {
			j.expire()
		} else if err := j.start(); err != nil {
			j.mu.Lock()
			if failureOf(j.broken).What != failureOf(err).What {
				j.o.Log.Error("the export folder cannot be used", "dir", j.o.Dir, "err", err)
			}
			j.broken = err
			j.mu.Unlock()
		} else {
			j.expire()
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// expire lets go of what has been kept long enough, and ends what was begun of
// that.
func (j *Jobs) expire() {
	keep := j.o.Config.Keep
	told := min(keep, expiredFor)
	type due struct {
		x      *job
		forget bool
	}
	var all []due
	t := now()
	j.mu.Lock()
	for _, x := range j.jobs {
		old := keep > 0 && t >= x.Ended.Add(keep)
		switch {
		case !x.saved || x.dropping || !x.State.Over():
		case x.Unwanted:
			all = append(all, due{x, true})
		case x.State == Expired && x.Gone && t >= x.Expiry.Add(told):
			all = append(all, due{x, true})
		case x.State == Expired && !x.Gone, x.State == Done && old:
			all = append(all, due{x, false})
		case (x.State == Failed || x.State == Canceled) && old:
			all = append(all, due{x, true})
		}
	}
	j.mu.Unlock()
	for _, d := range all {
		if err := j.drop(d.x, d.forget); err != nil {
			j.o.Log.Warn("an export cannot be deleted", "export", d.x.ID, "err", err)
		}
	}
}

// drop deletes the files of a job that is over, and its record, too, if it is to
// be forgotten. It is written down first, so that a crash half way finishes it.
func (j *Jobs) drop(x *job, forget bool) error {
	j.mu.Lock()
	if x.dropping || !x.State.Over() || j.jobs[x.ID] != x {
		j.mu.Unlock()
		return nil
	}
	x.dropping = true
	if x.State == Done {
		x.State, x.Expiry = Expired, now()
	}
	files := x.State == Expired && !x.Gone
	v := x.Job
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		x.dropping = false
		j.mu.Unlock()
	}()
	if files {
		// A full disk takes no record, and deleting is what helps.
		if err := j.put(x); err != nil && failureOf(err).Code != CodeNoRoom {
			return err
		}
		if j.o.stop != nil && j.o.stop("expiring") {
			return errStop
		}
		if err := j.remove(v.File); err != nil {
			return err
		}
		j.mu.Lock()
		x.Gone = true
		j.mu.Unlock()
		if j.o.stop != nil && j.o.stop("deleted") {
			return errStop
		}
	}
	if !forget {
		return j.put(x)
	}
	x.saving.Lock()
	defer x.saving.Unlock()
	j.mu.Lock()
	delete(j.jobs, x.ID)
	j.mu.Unlock()
	return j.forget(x.ID)
}

// remove deletes a published export, the proof last: a proof without its file
// lies to nobody.
func (j *Jobs) remove(name string) error {
	for _, n := range []string{name, name + export.Suffix} {
		if err := os.Remove(j.path(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return wrote(err)
		}
	}
	return wrote(syncDir(j.o.Dir))
}

// cancelWait is how long is waited for a worker to let go of a cancelled job.
const cancelWait = time.Second

// Remove cancels a job that is not over; one that is over goes with its file. One
// that is sealed is over in a moment: then it goes, or when the next server has
// taken it up; it is not listed any more.
func (j *Jobs) Remove(id string) error {
	j.mu.Lock()
	x := j.jobs[id]
	switch {
	case x == nil || !x.saved || x.Unwanted:
		j.mu.Unlock()
		return ErrNoJob
	case x.dropping:
		j.mu.Unlock()
		return failure(CodeBusy, "ask again in a moment", "the file of this export is being deleted: it has expired")
	case x.State.Over():
		j.mu.Unlock()
		return j.drop(x, true)
	case x.State == Running && x.Sealed:
		x.Unwanted = true
		left := x.left
		j.mu.Unlock()
		return j.unwanted(x, left)
	}
	x.State, x.Ended = Canceled, now()
	left, v := x.left, x.Job
	if x.cancel != nil {
		x.cancel()
		x.cancel = nil
	} else {
		left = nil
	}
	j.mu.Unlock()
	if left != nil {
		await(left, cancelWait)
		j.clear(id) // also where the worker hangs on a disk: it clears again
	}
	j.tell(v, "info", "canceled", "")
	if err := j.put(x); err != nil {
		x.saving.Lock()
		defer x.saving.Unlock()
		return j.forget(id) // what is not written down as cancelled would begin again
	}
	return nil
}

// unwanted writes down that a sealed job is to go, so that a restart does not keep
// it, and waits until it is gone. It may be wanted again where that fails.
func (j *Jobs) unwanted(x *job, left <-chan struct{}) error {
	err := j.put(x)
	if err == nil {
		await(left, 5*cancelWait)
	}
	j.mu.Lock()
	over := x.State.Over()
	if err != nil {
		x.Unwanted = false
	}
	j.mu.Unlock()
	if err != nil || !over {
		return err // not over: who publishes it deletes it, this server or the next
	}
	return j.drop(x, true)
}

// await tells whether c was closed within a time.
func await(c <-chan struct{}, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

// Open opens the file of a job that is done, or its proof. The file stays
// readable though it is deleted meanwhile; the caller closes it.
func (j *Jobs) Open(id string, proof bool) (*os.File, Job, error) {
	x, err := j.Get(id)
	switch {
	case err != nil:
		return nil, x, err
	case x.State == Expired:
		return nil, x, failure(CodeExpired, "ask for the export again, if its footage is still there", "this export has expired and its file was deleted")
	case x.State == Failed:
		return nil, x, failure(CodeNoFile, x.Why.Hint, "this export failed: %s", x.Why.What)
	case x.State != Done:
		return nil, x, failure(CodeNotDone, "exports/{id} tells how far it is", "this export is %s", x.State)
	case proof && !x.Proof:
		return nil, x, failure(CodeNoFile, `ask with {"proof":true}`, "this export has no proof")
	}
	name := x.File
	if proof {
		name += export.Suffix
	}
	f, err := os.Open(j.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, x, failure(CodeExpired, "ask for the export again", "somebody has taken %s out of the export folder", name)
	}
	if err != nil {
		return nil, x, failureOf(wrote(err))
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() || !proof && fi.Size() != x.Size {
		f.Close()
		return nil, x, failure(CodeNoFile, "ask for the export again", "somebody has changed %s in the export folder", name)
	}
	return f, x, nil
}
