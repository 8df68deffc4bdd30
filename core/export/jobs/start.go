package jobs

import (
	"errors"
	"os"
)

// start reads the folder and takes up what was begun.
func (j *Jobs) start() error {
	if err := errors.Join(os.MkdirAll(j.o.Dir, 0o750), os.MkdirAll(j.path(recordsDir), 0o700)); err != nil {
		return wrote(err)
	}
	if _, _, err := j.o.Disk(j.o.Dir); err != nil {
		return wrote(err)
	}
	list, strange, err := readRecords(j.o.Dir)
	if err != nil {
		return wrote(err)
	}
	kept := map[string]bool{} // whose files are not thrown away
	for _, l := range strange {
		kept[l.id] = true
	}
	var ran []*job
	for _, x := range list {
		kept[x.ID] = x.State == Running && x.Sealed
		x.saved = true
		if x.State == Running {
			x.left = make(chan struct{})
			ran = append(ran, x)
		}
	}
	if err := j.sweep(kept); err != nil {
		return err
	}
	j.mu.Lock()
	for _, x := range list {
		j.jobs[x.ID] = x
	}
	j.strange = strange
	j.mu.Unlock()
	for _, x := range ran {
		j.takeUp(x)
	}
	j.mu.Lock()
	j.open, j.broken = true, nil
	j.poke()
	j.mu.Unlock()
	return nil
}

// sweep deletes temporary files that nobody goes on with.
func (j *Jobs) sweep(kept map[string]bool) error {
	for _, dir := range []string{j.o.Dir, j.path(recordsDir)} {
		list, err := os.ReadDir(dir)
		if err != nil {
			return wrote(err)
		}
		for _, e := range list {
			part := partName.FindStringSubmatch(e.Name())
			if dir == j.o.Dir && (part == nil || kept[part[1]]) || dir != j.o.Dir && !newName.MatchString(e.Name()) {
				continue
			}
			if err := os.Remove(dir + "/" + e.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
				return wrote(err)
			}
		}
	}
	return nil
}

// takeUp goes on with a job that ran when the server ended: one that was sealed
// is published, another begins again.
func (j *Jobs) takeUp(x *job) {
	defer close(x.left)
	j.mu.Lock()
	was := x.Job
	j.mu.Unlock()
	var err error
	if was.Sealed {
		err = j.publish(was, func(string) error { return nil })
	}
	if !was.Sealed || err != nil {
		j.clear(was.ID) // first: the worker may begin it again at once
	}
	j.mu.Lock()
	switch {
	case x.State != Running: // it was listed already, and somebody has cancelled it
	case was.Sealed && err == nil:
		x.State, x.Ended, x.Sealed = Done, now(), false
	case was.Sealed && !errors.Is(err, errLost):
		x.State, x.Ended, x.Sealed, x.Why = Failed, now(), false, failureOf(err)
	case x.Unwanted:
		x.State, x.Ended, x.Sealed = Canceled, now(), false
	case x.Attempts >= mostAttempts:
		x.State, x.Ended, x.Sealed = Failed, now(), false
		x.Why = failure("interrupted", "see why the server ends; then ask again, or in pieces", "the server ended %d times while it was being made", x.Attempts)
	default:
		x.State, x.Sealed = Queued, false
	}
	v := x.Job
	j.mu.Unlock()
	if err := j.put(x); err != nil {
		j.o.Log.Warn("the record of an export cannot be written", "export", v.ID, "state", v.State, "err", err)
	}
	j.over(x, v)
}
