// Command local is the storage plugin that keeps recordings in folders of this
// machine: local disks and mounted network storage.
//
//	core ══gRPC══▶ sdk.Main ─▶ server ─▶ space (one a folder) ─▶ disk
//	core ──side socket──▶ server ─▶ read-only descriptors, for sendfile
//
// What belongs here is the process only: the plugin's name, its settings and
// where its side socket lies. The socket's goroutines end with the process.
package main

import (
	"context"
	"log/slog"
	"os"

	"media-server/plugins/local/server"
	"media-server/plugins/sdk"
)

const version = "1.0.0"

func main() {
	socket := ""
	if dir := os.Getenv(sdk.SocketDirEnv); dir != "" {
		socket = server.SocketPath(dir, os.Getpid())
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	s := server.New(log, socket)
	if socket != "" {
		go func() { // lives as long as the process
			if err := s.ServeDescriptors(context.Background()); err != nil {
				log.Error("no descriptors: reading goes through the plugin", "err", err)
			}
		}()
	}
	sdk.Main(sdk.Plugin{Name: "local", Version: version, Storage: s, ItemKeys: keys()})
}

// keys are the settings of a space.
func keys() []sdk.Key {
	return []sdk.Key{
		{Name: "path", Type: sdk.String, Required: true, Help: "Folder of the space; nothing else may be in it."},
		{Name: "size-limit", Type: sdk.String, Default: "0", Help: "Most bytes the space may use (500G), or a share of the file system (80%); 0 = all."},
		{Name: "reserve", Type: sdk.String, Default: "0", Help: "What must stay free on the file system: bytes (10G) or a share (5%)."},
		{Name: "fsync", Type: sdk.String, Default: "500ms", Help: "Time between syncs; what was written since the last is lost in a power cut. off leaves it to the kernel."},
		{Name: "descriptors", Type: sdk.Enum, Allowed: []string{"auto", "on", "off"}, Default: "auto", Help: "Whether playback reads files directly: auto on local file systems only."},
	}
}
