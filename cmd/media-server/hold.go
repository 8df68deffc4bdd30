package main

import (
	"os"

	"media-server/core/ports"
)

type holdCmd struct {
	RunDir string `arg:"" help:"Folder of the server's sockets."`
}

// Run is the process that has the server's listening sockets, too.
func (h holdCmd) Run(*globals) error { return ports.Serve(h.RunDir) }

// holderCommand starts this very program, also when another version has been
// put in its place since.
func holderCommand() []string {
	const self = "/proc/self/exe"
	path, err := os.Executable()
	if err != nil {
		return []string{self}
	}
	mine, err1 := os.Stat(self)
	there, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(mine, there) {
		return []string{self}
	}
	return []string{path} // the name that people know in lists of processes
}
