package config

import (
	"os"
	"syscall"
)

// keepOwner gives tmp the owner of the file it will replace. Only root may do
// so; for anybody else the writer's own is right, so a failure is no error.
func keepOwner(tmp *os.File, info os.FileInfo) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = tmp.Chown(int(st.Uid), int(st.Gid))
	}
}
