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
	sealed := map[string]bool{}
	for _, x := range list {
		sealed[x.ID] = x.State == Running && x.Sealed
		x.saved = true
	}
	if err := j.sweep(sealed); err != nil {
		return err
	}
	j.mu.Lock()
	for _, x := range list {
		j.jobs[x.ID] = x
	}
	j.strange = strange
	j.mu.Unlock()
	for _, x := range list {
		if x.State == Running {
			j.takeUp(x)
		}
	}
	j.mu.Lock()
	j.open, j.broken = true, nil
	j.poke()
	j.mu.Unlock()
	return nil
}

// sweep deletes temporary files that nobody goes on with.
func (j *Jobs) sweep(sealed map[string]bool) error {
	for _, dir := range []string{j.o.Dir, j.path(recordsDir)} {
		list, err := os.ReadDir(dir)
		if err != nil {
			return wrote(err)
		}
		for _, e := range list {
			part := partName.FindStringSubmatch(e.Name())
			if dir == j.o.Dir && (part == nil || sealed[part[1]]) || dir != j.o.Dir && !newName.MatchString(e.Name()) {
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
	var err error
	if x.Sealed {
		err = j.publish(x.Job, func(string) error { return nil })
	}
	j.mu.Lock()
	switch {
	case x.Sealed && err == nil:
		x.State, x.Ended, x.Sealed = Done, now(), false
	case x.Sealed && !errors.Is(err, errLost):
		x.State, x.Ended, x.Sealed, x.Why = Failed, now(), false, failureOf(err)
	case x.Attempts >= mostAttempts:
		x.State, x.Ended, x.Sealed = Failed, now(), false
		x.Why = failure("interrupted", "see why the server ends; then ask again, or in pieces", "the server ended %d times while it was being made", x.Attempts)
	default:
		x.State, x.Sealed = Queued, false
	}
	v := x.Job
	j.mu.Unlock()
	if v.State != Done {
		j.clear(v.ID)
	}
	if err := j.put(x); err != nil {
		j.o.Log.Warn("the record of an export cannot be written", "export", v.ID, "state", v.State, "err", err)
	}
	switch v.State {
	case Done:
		j.tell(v, "info", "finished", "")
	case Failed:
		j.tell(v, "warning", "failed", v.Why.What)
	}
}
