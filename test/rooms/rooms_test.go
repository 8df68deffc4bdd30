package rooms

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// order is the house from the ground up: a room imports only rooms before it.
var order = []string{
	"media", "fault", "process", "ports", "config", "keys", "schedule", "clock", "flac", "mux", "archive", "inspect", "access", "journal", "backup",
	"stream", "backfill", "timeline", "hls", "mp4", "rtsp", "webrtc", "still", "picture", "export", "urls",
	"script", "cluster", "web", "pluginhost", "node",
}

// owners names the libraries that one room keeps to itself, and why.
var owners = []struct{ lib, room, why string }{
	{"gopkg.in/ini.v1", "core/config", "its defaults cut values and hide duplicates; one room knows the traps"},
	{"github.com/hashicorp/go-plugin", "core/pluginhost|plugins/sdk", "what a plugin process is stays in one place"},
	{"github.com/valyala/fasthttp", "core/web", "request contexts are reused: only rooms that know may hold one"},
	{"github.com/fasthttp/router", "core/web", "routing belongs to web"},
	{"github.com/bluenviron/gortsplib/v4", "core/rtsp|plugins/rtsp|plugins/internal/rtspsource", "the RTSP library stays behind our own interface"},
	{"github.com/bluenviron/mediacommon/v2", "core/mux|plugins/", "boxes and codecs are the mux's vocabulary"},
	{"github.com/pion/webrtc/v4", "core/webrtc", "ICE, DTLS and SRTP stay behind one room's few methods"},
	{"github.com/minio/minio-go/v7", "plugins/s3", "a slow object store stays in its own process"},
	{"modernc.org/sqlite", "core/archive|core/access|core/journal", "databases belong to the rooms that document their schema"},
}

type pkg struct {
	ImportPath   string
	Dir          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
}

func load(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,GoFiles", "media-server/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func room(path string) string {
	rest, ok := strings.CutPrefix(path, "media-server/core/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// TestRoomsImportDownwards holds the order of rooms.
func TestRoomsImportDownwards(t *testing.T) {
	for _, p := range load(t) {
		from := room(p.ImportPath)
		if from == "" {
			continue
		}
		at := slices.Index(order, from)
		if at < 0 {
			t.Errorf("%s: core/%s is not in the order of rooms; give it its place in this test and in the README", p.ImportPath, from)
			continue
		}
		for _, imp := range p.Imports {
			to := room(imp)
			if to == "" || to == from {
				continue
			}
			if i := slices.Index(order, to); i > at {
				t.Errorf("%s imports %s: a room imports only rooms below it (%s stands above %s); own a small interface and let node join them", p.ImportPath, imp, to, from)
			}
		}
	}
}

// TestPluginsImportNoCore keeps plugins buildable by others.
func TestPluginsImportNoCore(t *testing.T) {
	for _, p := range load(t) {
		if !strings.HasPrefix(p.ImportPath, "media-server/plugins/") {
			continue
		}
		for _, imp := range p.Imports {
			own := strings.HasPrefix(imp, "media-server/")
			ok := strings.HasPrefix(imp, "media-server/plugins/") || imp == "media-server/core/media"
			if own && !ok {
				t.Errorf("%s imports %s: a plugin is a process of its own and knows only plugins/sdk, plugins/internal and core/media", p.ImportPath, imp)
			}
		}
	}
}

// TestPluginhostAndNodeAreLast: nobody but node knows plugin processes, nobody
// but cmd and tests knows node.
func TestPluginhostAndNodeAreLast(t *testing.T) {
	for _, p := range load(t) {
		for _, imp := range p.Imports {
			if imp == "media-server/core/pluginhost" && room(p.ImportPath) != "node" && room(p.ImportPath) != "pluginhost" &&
				!strings.HasPrefix(p.ImportPath, "media-server/test/") {
				t.Errorf("%s imports pluginhost: own an interface, node joins them", p.ImportPath)
			}
			if imp == "media-server/core/node" && !strings.HasPrefix(p.ImportPath, "media-server/cmd/") &&
				!strings.HasPrefix(p.ImportPath, "media-server/test/") && room(p.ImportPath) != "node" {
				t.Errorf("%s imports node: only cmd and tests assemble", p.ImportPath)
			}
		}
	}
}

// TestLibrariesHaveOneOwner holds the owners table.
func TestLibrariesHaveOneOwner(t *testing.T) {
	for _, p := range load(t) {
		short := strings.TrimPrefix(p.ImportPath, "media-server/")
		if strings.HasPrefix(short, "test/") {
			continue
		}
		for _, imp := range p.Imports {
			for _, o := range owners {
				if imp != o.lib && !strings.HasPrefix(imp, o.lib+"/") {
					continue
				}
				allowed := slices.ContainsFunc(strings.Split(o.room, "|"), func(r string) bool {
					return short == strings.TrimSuffix(r, "/") || strings.HasPrefix(short, strings.TrimSuffix(r, "/")+"/")
				})
				if !allowed {
					t.Errorf("%s imports %s, which belongs to %s: %s", short, imp, o.room, o.why)
				}
			}
		}
	}
}

// TestEveryRoomHasADoor: doc.go names the room's one job.
func TestEveryRoomHasADoor(t *testing.T) {
	for _, p := range load(t) {
		short := strings.TrimPrefix(p.ImportPath, "media-server/")
		if len(p.GoFiles) == 0 || !(strings.HasPrefix(short, "core/") || strings.HasPrefix(short, "plugins/")) {
			continue
		}
		if slices.Contains(p.GoFiles, "main.go") && !slices.Contains(p.GoFiles, "doc.go") {
			continue // a program: its main.go opens with its documentation
		}
		b, err := os.ReadFile(filepath.Join(p.Dir, "doc.go"))
		if err != nil {
			t.Errorf("%s has no doc.go: say its one job, what does not belong there, its invariants and who owns its goroutines", short)
			continue
		}
		if len(b) < 200 {
			t.Errorf("%s/doc.go says too little", short)
		}
	}
}
