package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clockTick is USER_HZ, which is 100 on every architecture Go runs on.
const clockTick = 10 * time.Millisecond

// cpuOf is what processes have used so far, by pid.
func cpuOf(pids ...int) map[int]time.Duration {
	m := map[int]time.Duration{}
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		i := strings.LastIndexByte(string(b), ')')
		if err != nil || i < 0 {
			continue
		}
		f := strings.Fields(string(b[i+1:]))
		if len(f) < 13 {
			continue
		}
		u, _ := strconv.ParseInt(f[11], 10, 64)
		s, _ := strconv.ParseInt(f[12], 10, 64)
		m[pid] = time.Duration(u+s) * clockTick
	}
	return m
}

// value reads "Name: 123 …" from a file of /proc.
func value(file, name string) int64 {
	b, _ := os.ReadFile(file)
	for l := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(l, name+":"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				v, _ := strconv.ParseInt(f[0], 10, 64)
				return v
			}
		}
	}
	return 0
}

// pss is the proportional share of memory, in bytes.
func pss(pids ...int) (sum int64) {
	for _, pid := range pids {
		sum += value(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss") << 10
	}
	return sum
}

// rchar is what processes have read by system calls, sendfile included.
func rchar(pids ...int) (sum int64) {
	for _, pid := range pids {
		sum += value(fmt.Sprintf("/proc/%d/io", pid), "rchar")
	}
	return sum
}

// fromDisk is what storage had to fetch for processes.
func fromDisk(pids ...int) (sum int64) {
	for _, pid := range pids {
		sum += value(fmt.Sprintf("/proc/%d/io", pid), "read_bytes")
	}
	return sum
}

// switches counts voluntary context switches of all threads: wake-ups.
func switches(pids ...int) (sum int64) {
	for _, pid := range pids {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		for _, t := range tasks {
			sum += value(fmt.Sprintf("/proc/%d/task/%s/status", pid, t.Name()), "voluntary_ctxt_switches")
		}
	}
	return sum
}

// child is a process that plays one of the roles of this program. It says
// lines and is asked by lines.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	end sync.Once
}

var (
	childMu  sync.Mutex
	children []interface{ stop() }
)

func started(c interface{ stop() }) {
	childMu.Lock()
	defer childMu.Unlock()
	children = append(children, c)
}

// endAll ends what is still there of a measurement.
func endAll() {
	childMu.Lock()
	list := children
	children = nil
	childMu.Unlock()
	for _, c := range slices.Backward(list) {
		c.stop()
	}
}

// spawn starts this program in another role.
func spawn(role string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{role}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	started(c)
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// line waits for a line of JSON.
func (c *child) line(v any) error {
	s, err := c.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", c.cmd.Args[1], err)
	}
	return json.Unmarshal([]byte(s), v)
}

// ask sends a line and waits for the answer.
func (c *child) ask(what string, v any) error {
	if _, err := io.WriteString(c.in, what+"\n"); err != nil {
		return err
	}
	return c.line(v)
}

// stop ends it: a role ends with its standard input.
func (c *child) stop() {
	c.end.Do(func() {
		c.in.Close()
		t := time.AfterFunc(3*time.Second, func() { _ = c.cmd.Process.Kill() })
		_ = c.cmd.Wait()
		t.Stop()
	})
}

// kill ends it as a power cut does.
func (c *child) kill() {
	c.end.Do(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
}
