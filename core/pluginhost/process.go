package pluginhost

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"media-server/core/process"
)

// sweep kills processes that carry this plugin's name and socket folder in
// their environment: instances whose core died between fork and record, and
// children that outlived their plugin. The session of keep is left alone.
func sweep(name, socketDir string, keep int) (killed []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	self := os.Getpid()
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self || pid == keep {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !hasEnv(env, envName+"="+name) || !hasEnv(env, envSocketDir+"="+socketDir) {
			continue
		}
		st, err := process.ReadStat(pid)
		if err != nil || keep != 0 && st.Session == keep {
			continue
		}
		p, err := process.Open(pid, st.Start)
		if err != nil {
			continue
		}
		if p.Kill(2*time.Second) == nil {
			killed = append(killed, pid)
		}
		p.Release()
	}
	return killed
}

func hasEnv(environ []byte, want string) bool {
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if string(kv) == want {
			return true
		}
	}
	return false
}
