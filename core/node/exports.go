package node

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"media-server/core/archive"
	"media-server/core/export"
	"media-server/core/export/jobs"
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/timeline"
	"media-server/core/web/api"
)

// exportDir is where the exports of these settings lie.
func exportDir(set *Settings) string {
	if set.Export.Path != "" {
		return set.Export.Path
	}
	return filepath.Join(set.Server.DataDir, "exports")
}

// newExports joins the jobs to what is recorded.
func newExports(n *Node, set *Settings) *jobs.Jobs {
	dir := exportDir(set)
	return jobs.New(jobs.Options{
		Dir: dir, Config: set.Export, Source: exportSource{n.timeline, n}, Zone: n.zone, Log: n.log,
		Reserve: func(total int64) int64 { return n.reserveAt(dir, total) },
		Ready:   n.listed, Busy: n.storageBehind,
		Notify: func(x jobs.Notice) {
			if x.Level != "info" {
				n.log.Warn(x.Message, "stream", x.UID, "type", x.Type)
			}
			n.emit(event(x.Type, x.UID, x.Level, x.Message, x.Data))
		},
	})
}

// reserveAt is what the spaces on the disk of a folder keep free there.
func (n *Node) reserveAt(dir string, total int64) (most int64) {
	dev, ok := deviceOf(dir)
	for _, sp := range n.current.Load().Archive.Spaces {
		if d, is := deviceOf(sp.Path); sp.Path != "" && ok && is && d == dev {
			most = max(most, sp.Reserve.Of(total))
		}
	}
	return most
}

func deviceOf(path string) (uint64, bool) {
	fi, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	st, is := fi.Sys().(*syscall.Stat_t)
	if !is {
		return 0, false
	}
	return uint64(st.Dev), true //nolint:unconvert // its type differs by architecture
}

// listedLook is how often it is looked whether all footage is listed.
const listedLook = 500 * time.Millisecond

// listed waits until all spaces are open and their files are listed, or it is
// known that they cannot be: an export that was interrupted would take what is not
// listed yet for deleted.
func (n *Node) listed(ctx context.Context) error {
	if err := n.archive.Opened(ctx); err != nil {
		return err
	}
	t := time.NewTicker(listedLook)
	defer t.Stop()
	for slices.ContainsFunc(n.archive.SpaceStatuses(), func(s archive.SpaceStatus) bool {
		return s.State == archive.SpaceOpening || s.State == archive.SpaceRestoring || s.State == archive.SpaceScanning
	}) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

// behindAt is how much that waits to be written says that a space is behind.
const behindAt = 32 << 20

// storageBehind tells that a space does not write as fast as is recorded, or
// syncs more slowly than was promised.
func (n *Node) storageBehind() bool {
	return slices.ContainsFunc(n.archive.SpaceStatuses(), func(s archive.SpaceStatus) bool { return s.Slow > 0 || s.Waiting > behindAt })
}

// exportSource is the footage as exports see it.
type exportSource struct {
	*timeline.Timeline
	n *Node
}

// Record implements jobs.Source.
func (x exportSource) Record(uid string, s media.Span) (*mp4.Movie, error) {
	return mp4.New(x.Timeline).Record(uid, s)
}

// Recorded implements jobs.Source.
func (x exportSource) Recorded(uid string, s media.Span) (all, whole time.Duration, err error) {
	rs, _, err := x.n.archive.Ranges(uid, s)
	for _, r := range rs {
		d := r.Span.Intersect(s).Duration()
		all += d
		if !r.Groomed {
			whole += d
		}
	}
	return all, whole, err
}

// Statement implements jobs.Source.
func (x exportSource) Statement(job jobs.Job) (st export.Statement, k archive.Signer, err error) {
	if k, err = x.n.proofs.key(); err != nil {
		return st, nil, err
	}
	st, err = x.n.statement(job.UID, job.Span, job.Who, job.Reason)
	return st, k, err
}

// CreateExport and the others implement api.Exports.
func (b backend) CreateExport(ask jobs.Ask) (jobs.Job, error) { return b.n.exports.Create(ask) }

// ExportJobs implements api.Exports.
func (b backend) ExportJobs() []jobs.Job { return b.n.exports.List() }

// ExportJob implements api.Exports.
func (b backend) ExportJob(id string) (jobs.Job, error) { return b.n.exports.Get(id) }

// RemoveExport implements api.Exports.
func (b backend) RemoveExport(id string) error { return b.n.exports.Remove(id) }

// OpenExport implements api.Exports.
func (b backend) OpenExport(id string, proof bool) (*os.File, jobs.Job, error) {
	return b.n.exports.Open(id, proof)
}

// exportProblems says why nothing can be exported.
func (b backend) exportProblems() []api.Problem {
	if p := b.n.exports.Problem(); p != nil {
		return []api.Problem{problemOf(p)}
	}
	return nil
}

// application is that of a stream, for those who name it beside its uid.
func (b backend) application(uid string) (string, bool) {
	if r := b.n.streams.get(uid); r != nil {
		return r.set.Config.Application, true
	}
	_, known := b.Stream(uid)
	return "", known
}
