package jobs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// leastFree is left free on the disk of exports in any case: databases may lie
// there, and files of this program's user.
const leastFree = 64 << 20

// statfs tells what users may still write to the disk of a folder, and how much
// it takes in all.
func statfs(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil //nolint:unconvert // types differ by architecture
}

// diskFacts are what the disk of the folder said when it was asked, in bytes.
type diskFacts struct {
	free, total int64
	floor       int64 // of free, what exports leave
}

// askDisk asks the disk, which may take long: j.mu must not be held.
func (j *Jobs) askDisk() (d diskFacts, err error) {
	if d.free, d.total, err = j.o.Disk(j.o.Dir); err != nil {
		return d, wrote(err)
	}
	d.floor = leastFree
	if j.o.Reserve != nil {
		d.floor = max(d.floor, j.o.Reserve(d.total))
	}
	return d, nil
}

// room asks the disk whether need more bytes fit.
func (j *Jobs) room(need, all int64) error {
	d, err := j.askDisk()
	if err != nil {
		return err
	}
	return j.fits(d, need, all)
}

// fits fails where need more bytes do not fit beside the reserve, or the exports
// as a whole would take more than max-size; all is what they will take, this one
// included.
func (j *Jobs) fits(d diskFacts, need, all int64) error {
	if most := j.o.Config.MaxSize.Of(d.total); most > 0 && all > most {
		return failure(CodeMaxSize, "delete exports that are not needed, shorten [export] keep, or raise [export] max-size; then ask again",
			"with this one the exports would take %s, and [export] max-size is %s", megabytes(all), megabytes(most))
	}
	if d.free-need < d.floor {
		return failure(CodeNoRoom, roomHint, "%s are free in %s, of which %s are kept for recordings and the system, and %s are needed", megabytes(d.free), j.o.Dir, megabytes(d.floor), megabytes(need))
	}
	return nil
}

// megabytes is a size for people, rounded up: 1 byte is not nothing.
func megabytes(n int64) string {
	if n < 10<<30 {
		return fmt.Sprintf("%d MB", (n+1<<20-1)>>20)
	}
	return fmt.Sprintf("%d GB", (n+1<<30-1)>>30)
}

// promised is what all exports but x take or will take, and how much of it is
// not written yet. j.mu is held.
func (j *Jobs) promised(x *job) (all, open int64) {
	for _, o := range j.jobs {
		if o == x || !o.holds() {
			continue
		}
		all += o.Size + o.proofSize.Load()
		if !o.State.Over() {
			open += max(o.Size-o.written.Load(), 0)
		}
	}
	return all, open
}
