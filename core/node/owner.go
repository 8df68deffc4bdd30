package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// offlineHome is takeHome for a verb that works while no server runs. Run by
// root on the files of a server of another user, it gives what it has made to
// that user in the end: else the server could not read its own epoch or keys.
func offlineHome(set *Settings) (*home, error) {
	h, err := takeHome(set.Server.DataDir)
	if err == nil {
		h.gives = set
	}
	return h, err
}

// GiveBack gives what root has made in the server's folders to their owner, if
// that is another user.
func (s *Settings) GiveBack() error {
	dirs := []string{s.Server.DataDir, s.Server.RunDir, keysDir(s), backupDir(s), s.Server.StreamsDir, filepath.Join(filepath.Dir(s.Path), "conf.d")}
	for _, sp := range s.Archive.Spaces {
		if sp.Path != "" { // a rebuild opens them
			dirs = append(dirs, filepath.Join(sp.Path, ".space"), filepath.Join(sp.Path, "ledger"))
		}
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, giveBack(dir))
	}
	return errors.Join(errs...)
}

// giveBack gives files of root below dir to the owner of dir.
func giveBack(dir string) error {
	uid, gid, ok := ownerOf(dir)
	if !ok || os.Geteuid() != 0 || uid == 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		// By the descriptor: what lies under the name may have been swapped. A
		// second name may lead to it from outside, with another owner's rights.
		f, err := root.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		st, is := fi.Sys().(*syscall.Stat_t)
		if !is || st.Uid != 0 || !fi.IsDir() && st.Nlink != 1 {
			return nil
		}
		return f.Chown(uid, gid)
	})
}

func ownerOf(path string) (uid, gid int, ok bool) {
	fi, err := os.Stat(path)
	if err != nil {
		return 0, 0, false
	}
	st, is := fi.Sys().(*syscall.Stat_t)
	if !is {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}
