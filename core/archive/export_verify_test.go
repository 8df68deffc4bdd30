package archive

import (
	"os"
	"path/filepath"
)

// going is a file that went when it had been read.
type going struct{ *os.File }

func (going) failed() error { return os.ErrNotExist }

// VerifyGoing verifies a file of a space that goes meanwhile. known is how much is
// remembered of it.
func VerifyGoing(v *Verifier, root, rel string) (out Verified, known int, err error) {
	v.begin()
	v.dir = root
	f, err := os.Open(filepath.Join(root, rel))
	if err != nil {
		return out, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		return out, 0, err
	}
	v.file(going{f}, nil, Entry{Name: rel, Size: fi.Size()}, "")
	return v.out, len(v.seen) + len(v.stands) + len(v.newest) + len(v.refers), nil
}
