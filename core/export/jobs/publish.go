package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"media-server/core/export"
)

// errLost: neither the temporary file nor the published one is there.
var errLost = errors.New("the written file is not there any more")

// publish gives file and proof of a sealed job their names, the proof first: who
// sees the file has its proof. What was done of it before a crash is not done again.
func (j *Jobs) publish(x Job, at func(step string) error) error {
	if x.Proof {
		if err := j.settle(proofPartOf(x.ID), x.File+export.Suffix, -1); err != nil {
			return err
		}
		if err := at("proof published"); err != nil {
			return ignoreCancel(err)
		}
	}
	if err := j.settle(partOf(x.ID), x.File, x.Size); err != nil {
		if x.Proof {
			_ = os.Remove(j.path(x.File + export.Suffix)) // it is ours, and proves nothing that is there
		}
		return err
	}
	if err := at("published"); err != nil {
		return ignoreCancel(err)
	}
	if err := j.syncNames(); err != nil {
		// Whether it is there behind a power cut nobody knows: it is not handed out,
		// and must not lie there under a name that says it is whole.
		return errors.Join(wrote(err), j.unpublish(x))
	}
	return ignoreCancel(at("named"))
}

func (j *Jobs) syncNames() error {
	if j.o.sync != nil {
		return j.o.sync(j.o.Dir)
	}
	return syncDir(j.o.Dir)
}

// unpublish deletes what has got its name: the file first, a proof alone lies to nobody.
func (j *Jobs) unpublish(x Job) (err error) {
	names := []string{x.File}
	if x.Proof {
		names = append(names, x.File+export.Suffix)
	}
	for _, name := range names {
		if e := os.Remove(j.path(name)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("a file that is not safe stays there: %w", e))
		}
	}
	return err
}

// ignoreCancel: what is sealed is not stopped half way by the end of the server.
func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// settle renames from to to, unless that has been done. size tells the file to
// from somebody else's; -1 = not known.
func (j *Jobs) settle(from, to string, size int64) error {
	err := rename(j.path(from), j.path(to))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return failure("file_exists", "ask again, with another file_name", "somebody else has put a file %s into the export folder meanwhile", to)
	case !errors.Is(err, fs.ErrNotExist):
		return wrote(err)
	}
	fi, err := os.Lstat(j.path(to))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && (!fi.Mode().IsRegular() || size >= 0 && fi.Size() != size):
		return errLost
	}
	return wrote(err)
}

// rename renames a file to a name that nobody has.
func rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// A file system that cannot (NFS): the name was looked for when the job was
	// queued, and is looked for again.
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}
