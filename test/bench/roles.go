package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"media-server/test/bench/cameras"
	"media-server/test/bench/readers"
)

// roles are what this program does in its child processes.
var roles = map[string]func([]string) error{"cameras": roleCameras, "reader": roleReader, "viewers": roleViewers}

func say(v any) {
	b, _ := json.Marshal(v)
	os.Stdout.Write(append(b, '\n'))
}

// pin keeps a process to one core, where there are more.
func pin(core int) {
	if core < 0 || core >= runtime.NumCPU() {
		return
	}
	var set unix.CPUSet
	set.Set(core)
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		tid := 0
		fmt.Sscan(t.Name(), &tid)
		_ = unix.SchedSetaffinity(tid, &set)
	}
}

// roleCameras plays cameras: says its address, answers stats and flush.
func roleCameras(args []string) error {
	f := flag.NewFlagSet("cameras", flag.ContinueOnError)
	n := f.Int("n", 1, "")
	clip := f.String("clip", "", "")
	ledger := f.String("ledger", "", "")
	every := f.Int("every", 1, "")
	listen := f.String("listen", "127.0.0.1:0", "")
	core := f.Int("core", -1, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	pin(*core)
	c, err := cameras.Load(context.Background(), *clip)
	if err != nil {
		return err
	}
	s, err := cameras.New(cameras.Config{Clip: c, Cameras: *n, Pacers: 1 + *n/400, Ledger: *ledger, Every: *every})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	go s.Serve(l)
	say(l.Addr().String())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == "flush" {
			if err := s.Flush(); err != nil {
				return err
			}
		}
		say(s.Stats())
	}
	return nil
}

// roleReader is one of the lower bounds.
func roleReader(args []string) error {
	f := flag.NewFlagSet("reader", flag.ContinueOnError)
	mode := f.String("mode", "discard", "")
	n := f.Int("n", 1, "")
	addr := f.String("addr", "", "")
	dir := f.String("dir", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, *n)
	slots := make(chan struct{}, 8)
	for i := range *n {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = readers.Open(*mode, fmt.Sprintf("rtsp://%s/%s", *addr, cameras.Name(i)), *dir)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	say("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// cameraLoad starts n cameras; ledger names a folder, or "".
func (b *bench) cameraLoad(n int, ledger string, every int, listen string) (*child, string, error) {
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	core := -1
	if runtime.NumCPU() > 2 {
		core = runtime.NumCPU() - 1
	}
	c, err := spawn("cameras", "-n", fmt.Sprint(n), "-clip", b.keep, "-ledger", ledger, "-every", fmt.Sprint(every), "-listen", listen, "-core", fmt.Sprint(core))
	if err != nil {
		return nil, "", err
	}
	var addr string
	return c, addr, c.line(&addr)
}
