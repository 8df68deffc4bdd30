package ports

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"media-server/core/fault"
)

// user is a process that has a listening socket.
type user struct {
	pid    int
	name   string
	runDir string // of a holder; empty = another program
}

// explain says who has the port, as far as this user may know.
func explain(err error, address string) error {
	_, text, _ := net.SplitHostPort(address)
	port, perr := net.LookupPort("tcp", text)
	if perr != nil {
		return err
	}
	return accuse(err, usersOf(port))
}

func accuse(err error, users []user) error {
	i := slices.IndexFunc(users, func(u user) bool { return u.runDir == "" })
	switch {
	case len(users) == 0:
		return err
	case i >= 0:
		u := users[i]
		return fault.Wrap(fmt.Errorf("%w: process %d (%s) uses the port", err, u.pid, u.name), "", "", "end it, or change listen in media-server.ini")
	}
	u := users[0]
	return fault.Wrap(fmt.Errorf("%w: process %d holds the port for a server with run-dir %s that does not run at the moment", err, u.pid, u.runDir), "", "",
		fmt.Sprintf("start that server, or let the port go with: kill %d (it does so by itself after [plugins] linger)", u.pid))
}

// usersOf finds the processes that have a listening socket of a port, those of
// other users where we may look at them.
func usersOf(port int) (out []user) {
	sockets := map[string]bool{}
	for _, f := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(f)
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if inode, ok := listening(s.Text(), port); ok {
				sockets["socket:["+inode+"]"] = true
			}
		}
		f.Close()
	}
	if len(sockets) == 0 {
		return nil
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err == nil && pid != os.Getpid() && hasSocket(d, sockets) {
			out = append(out, userOf(d, pid))
		}
	}
	return out
}

// listening reads a line of /proc/net/tcp: the inode of a listening socket of
// the port.
func listening(line string, port int) (inode string, ok bool) {
	f := strings.Fields(line)
	const local, state, at, listen = 1, 3, 9, "0A"
	if len(f) <= at || f[state] != listen {
		return "", false
	}
	_, hex, ok := strings.Cut(f[local], ":")
	if n, err := strconv.ParseUint(hex, 16, 16); !ok || err != nil || int(n) != port {
		return "", false
	}
	return f[at], true
}

func hasSocket(dir string, sockets map[string]bool) bool {
	d, err := os.Open(filepath.Join(dir, "fd"))
	if err != nil {
		return false
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(256)
		for _, n := range names {
			if to, err := os.Readlink(filepath.Join(dir, "fd", n)); err == nil && sockets[to] {
				return true
			}
		}
		if err != nil || len(names) == 0 {
			return false
		}
	}
}

func userOf(dir string, pid int) user {
	u := user{pid: pid, name: "?"}
	b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	if err == nil && args[0] != "" {
		u.name = filepath.Base(args[0])
	}
	if n := len(args); n >= 3 && args[n-2] == Verb {
		u.runDir = args[n-1]
	}
	return u
}
