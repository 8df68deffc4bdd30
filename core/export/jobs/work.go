package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"media-server/core/export"
	"media-server/core/media"
	"media-server/core/mp4"
)

// worker makes one export after the other.
func (j *Jobs) worker(ctx context.Context) {
	low()
	if j.o.Ready != nil && j.o.Ready(ctx) != nil {
		return
	}
	for ctx.Err() == nil {
		x, wait := j.next()
		if x != nil {
			j.work(ctx, x)
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-j.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// settle is how long behind the end of a span all of it has arrived and is
// listed: the sound of a moment may come after its pictures.
const settle = 2 * time.Second

// idle is how long the worker sleeps where nothing waits.
const idle = time.Hour

// next is the job that has waited longest, of those whose footage has arrived;
// where there is none, wait is how long until there may be.
func (j *Jobs) next() (first *job, wait time.Duration) {
	t := now()
	wait = idle
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, x := range j.jobs {
		switch ripe := x.Span.To.Add(settle).Sub(t); {
		case !x.saved || x.State != Queued:
		case ripe > 0:
			wait = min(wait, ripe)
		case first == nil || x.Made < first.Made:
			first = x
		}
	}
	return first, wait
}

// work is a job being made.
type work struct {
	j   *Jobs
	x   *job
	job Job // as it was when it began
	ctx context.Context
}

// errStop is the death of a server at a step, in tests.
var errStop = errors.New("stopped here")

// at is passed after each step.
func (w *work) at(step string) error {
	if w.j.o.stop != nil && w.j.o.stop(step) {
		return errStop
	}
	return w.ctx.Err()
}

func (j *Jobs) work(ctx context.Context, x *job) {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	left := make(chan struct{})
	defer close(left)
	j.mu.Lock()
	if x.State != Queued {
		j.mu.Unlock()
		return // cancelled meanwhile
	}
	x.State, x.Started, x.cancel, x.left = Running, now(), cancel, left
	x.Attempts++
	x.written.Store(0)
	x.read.Store(0)
	x.proofSize.Store(0)
	w := &work{j: j, x: x, job: x.Job, ctx: own}
	j.mu.Unlock()
	j.tell(w.job, "info", "started", "")
	j.end(ctx, x, w.make())
}

// make goes through all steps, up to the published file.
func (w *work) make() (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.j.o.Log.Error("panic in an export", "export", w.job.ID, "err", r, "stack", string(debug.Stack()))
			err = failure("internal", "tell who maintains this server; its log has more", "the export failed by a fault of this program")
		}
	}()
	if err := w.j.put(w.x); err != nil {
		return err
	}
	if err := w.at("begun"); err != nil {
		return err
	}
	m, err := w.plan()
	if err != nil {
		return err
	}
	defer m.Body.Release()
	sum, err := w.file(m)
	if err != nil {
		return err
	}
	if w.job.Proof {
		if err := w.proof(m, sum); err != nil {
			return err
		}
	}
	if err := w.seal(sum); err != nil {
		return err
	}
	return w.j.publish(w.job, w.at)
}

// shrunk is how much less footage may lie in a span than when it was asked for:
// the edges of files that are rounded otherwise.
const shrunk = 2 * time.Second

// plan plans the movie again: much may have happened since it was asked for.
func (w *work) plan() (*mp4.Movie, error) {
	src := w.j.o.Source
	m, err := src.Record(w.job.UID, w.job.Span)
	if err != nil {
		return nil, err
	}
	all, whole, err := src.Recorded(w.job.UID, w.job.Span)
	// Recorded knows what lies in storage. What lay in memory alone when it was
	// asked for, and never got there, is missing at an end of what the movie covers.
	was := w.job.Covers
	lost := max(m.Span.From.Sub(was.From), 0) + max(was.To.Sub(m.Span.To), 0)
	switch {
	case err != nil:
	case !was.Empty() && (m.Span.From > was.From.Add(shrunk) || m.Span.To < was.To.Add(-shrunk)):
		err = failure(CodeDeleted, "ask again for what is left; a lock keeps footage until it is exported", "%s of the footage were gone before it was exported", lost.Round(time.Second))
	case all < w.job.Recorded-shrunk:
		err = failure(CodeDeleted, "ask again for what is left; a lock keeps footage until it is exported", "%s of the footage were deleted before it was exported", (w.job.Recorded - all).Round(time.Second))
	case whole < w.job.Whole-shrunk:
		err = failure("groomed", "ask again: what is left, key frames without sound, can be exported", "%s of the footage were groomed before it was exported", (w.job.Whole - whole).Round(time.Second))
	}
	if err == nil {
		w.j.mu.Lock()
		w.x.planned(m)
		w.job.planned(m)
		all, open := w.j.promised(w.x)
		w.j.mu.Unlock()
		err = w.j.room(w.job.Size+open, w.job.Size+all)
	}
	if err != nil {
		m.Body.Release()
		return nil, err
	}
	return m, nil
}

// file writes the movie under its temporary name.
func (w *work) file(m *mp4.Movie) (sum [32]byte, err error) {
	o, err := w.create(partOf(w.job.ID), &w.x.written)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if err := w.at("created"); err != nil {
		return sum, err
	}
	h := sha256.New()
	if err := w.copy(io.MultiWriter(h, o), m.Body); err != nil {
		return sum, err
	}
	if n := w.x.written.Load(); n != w.job.Size {
		return sum, fmt.Errorf("%d of %d bytes could be read", n, w.job.Size)
	}
	if err := w.at("copied"); err != nil {
		return sum, err
	}
	if err := o.sync(); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), w.at("synced")
}

// proof writes the proof of the movie, and reads it again.
func (w *work) proof(m *mp4.Movie, sum [32]byte) (err error) {
	st, signer, err := w.j.o.Source.Statement(w.job)
	if err != nil {
		return err
	}
	p, err := export.Make(w.ctx, st, m, &counted{w.j.o.Source, w}, signer)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // never fails
	name := proofPartOf(w.job.ID)
	o, err := w.create(name, &w.x.proofSize)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if _, err := io.Copy(o, p); err != nil {
		return err
	}
	if err := o.sync(); err != nil {
		return err
	}
	if err := export.Proves(w.j.path(name), w.job.Size, sum); err != nil {
		return err // its footage was read twice, and was not the same
	}
	return w.at("proved")
}

// seal decides that the job will be done: from here on a restart publishes it.
func (w *work) seal(sum [32]byte) error {
	w.j.mu.Lock()
	if w.x.State != Running {
		w.j.mu.Unlock()
		return context.Canceled
	}
	w.x.Sealed, w.x.SHA256 = true, hex.EncodeToString(sum[:])
	w.j.mu.Unlock()
	if err := w.j.put(w.x); err != nil {
		return err
	}
	return w.at("sealed")
}

// end writes down how a job ended. ctx is that of Run.
func (j *Jobs) end(ctx context.Context, x *job, err error) {
	if errors.Is(err, errStop) {
		return
	}
	j.mu.Lock()
	sealed := x.Sealed
	j.mu.Unlock()
	if err != nil && ctx.Err() != nil && sealed {
		return // the next start publishes it
	}
	if err != nil {
		j.clear(x.ID) // first: it may be what fills the disk, and nobody is to find it
	}
	j.mu.Lock()
	x.cancel = nil
	switch {
	case x.State == Canceled:
	case err == nil:
		x.State, x.Ended, x.Sealed = Done, now(), false
	case ctx.Err() != nil:
		x.State = Queued
		x.Attempts--
	default:
		x.State, x.Ended, x.Sealed, x.Why = Failed, now(), false, failureOf(err)
	}
	v := x.Job
	j.mu.Unlock()
	if e := j.put(x); e != nil {
		j.o.Log.Warn("the record of an export cannot be written", "export", v.ID, "state", v.State, "err", e)
	}
	j.over(x, v)
}

// over tells how a job ended, and deletes it if nobody wants it any more.
func (j *Jobs) over(x *job, v Job) {
	switch {
	case v.Unwanted:
		j.tell(v, "info", "canceled", "")
		if err := j.drop(x, true); err != nil {
			j.o.Log.Warn("an export cannot be deleted", "export", v.ID, "err", err, "hint", "it is tried again")
		}
	case v.State == Done:
		j.tell(v, "info", "finished", "")
	case v.State == Failed:
		j.tell(v, "warning", "failed", v.Why.What)
	}
}

// clear deletes the temporary files of a job.
func (j *Jobs) clear(id string) {
	for _, name := range []string{partOf(id), proofPartOf(id)} {
		if err := os.Remove(j.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			j.o.Log.Warn("a part of an export cannot be deleted", "file", j.path(name), "err", err)
		}
	}
}

// tell tells of a job.
func (j *Jobs) tell(v Job, level, what, why string) {
	at := func(w media.Wall) string { return w.Time().In(j.o.Zone()).Format(time.DateTime) }
	msg := fmt.Sprintf("export %s of %s from %s to %s by %s: %s", v.File, v.UID, at(v.Span.From), at(v.Span.To), v.Who, what)
	data := map[string]any{"id": v.ID, "state": what, "who": v.Who, "file": v.File, "from_ms": v.Span.From.Milli(), "to_ms": v.Span.To.Milli(), "bytes": v.Size}
	if v.Reason != "" {
		data["reason"] = v.Reason
	}
	if why != "" {
		msg += ": " + why
		data["why"], data["code"] = why, v.Why.Code
	}
	j.o.Notify(Notice{"record.export", level, v.UID, msg, data})
}
