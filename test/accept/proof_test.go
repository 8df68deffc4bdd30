package accept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// elsewhere is another machine: a folder with an export, its proof and the
// public key, and nothing of the server.
type elsewhere struct {
	t   *testing.T
	dir string
}

func (e *elsewhere) path(name string) string { return filepath.Join(e.dir, name) }

// run runs a program in the folder.
func (e *elsewhere) run(name string, args ...string) (out string, code int) {
	e.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = e.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir}
	b, err := cmd.CombinedOutput()
	var x *exec.ExitError
	if err != nil && !errors.As(err, &x) {
		e.t.Fatal(err)
	}
	if x != nil {
		code = x.ExitCode()
	}
	return string(b), code
}

func (e *elsewhere) verify(args ...string) (string, int) {
	e.t.Helper()
	return e.run(filepath.Join(harness.Bin, "media-server"), append([]string{"verify", "--key", "public.pem"}, args...)...)
}

func (e *elsewhere) ffmpeg(args ...string) {
	e.t.Helper()
	if out, code := e.run("ffmpeg", append([]string{"-v", "error", "-y"}, args...)...); code != 0 {
		e.t.Fatalf("ffmpeg %v: %s", args, out)
	}
}

// change writes a copy of a file with something done to it.
func (e *elsewhere) change(from, to string, do func([]byte) []byte) {
	e.t.Helper()
	b, err := os.ReadFile(e.path(from))
	if err == nil {
		err = os.WriteFile(e.path(to), do(b), 0o644)
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

// TestExportProof: what a server exported across a gap and a crash verifies on
// another machine with nothing but the export, its proof and the public key;
// cut without being encoded anew it still does; what was done to it is named.
func TestExportProof(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is not there: install the Debian package ffmpeg (make setup does)")
	}
	s := harness.New(t, harness.Options{Restart: "1s", Ini: "[pool.default]\nspaces = main\nsign = true\n[space.main]\npath = SPACE\n[log]\nlevel = warn"})
	space := filepath.Join(s.Data, "media")
	text, err := os.ReadFile(s.Conf)
	if err == nil {
		err = os.WriteFile(s.Conf, []byte(strings.Replace(string(text), "SPACE", space, 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Sim("gate", "audio=aac", "dvr-chunk = 2s", "stream-name = North gate")
	s.Sim("yard", "", "dvr-chunk = 10m") // its file is still growing
	s.Start()
	footage(s, "gate", "yard")
	time.Sleep(5 * time.Second) // real cameras take real time
	s.KillPlugin("sim")         // it is started again at once, and what is missing is no more than ranges bridge
	s.Past(time.Now().UnixMilli()+500, "gate", "yard")
	s.KillPlugin("sim") // behind a restart
	s.Past(time.Now().UnixMilli()+3000, "gate")
	since := time.Now()
	s.Kill()
	s.Start()
	s.Past(since.UnixMilli()+3000, "gate")

	away := &elsewhere{t, t.TempDir()}
	s.Past(since.UnixMilli()+3000, "yard")
	if out, code := verb(t, "export", "yard", "-c", s.Conf, "--from=-3s", "--to=now", "-o", away.path("now.mp4"), "--proof"); code != 0 {
		t.Fatalf("export of the newest seconds: exit %d\n%s", code, out)
	}
	s.Close("gate", "yard")
	s.Until("everything to be sealed", func() bool {
		open, _ := filepath.Glob(filepath.Join(space, "open", "*.mp4"))
		return len(open) == 0
	})
	f := s.Footage("gate")
	from, to := f.Ranges[0].From, f.Ranges[len(f.Ranges)-1].To
	if len(f.Ranges) < 2 {
		t.Fatalf("no gap: %+v", f)
	}
	const reason = `theft of a "bicycle"`
	out, code := verb(t, "export", "gate", "-c", s.Conf, "--from", fmt.Sprint(from), "--to", fmt.Sprint(to), "-o", away.path("export.mp4"), "--proof", "--reason", reason)
	if code != 0 {
		t.Fatalf("export: exit %d\n%s", code, out)
	}
	key, err := exec.Command(filepath.Join(harness.Bin, "media-server"), "keys", "public", "-c", s.Conf).Output()
	if err == nil {
		err = os.WriteFile(away.path("public.pem"), key, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Until("the journal to tell of the export", func() bool {
		for _, e := range s.Events("record.export") {
			who, _ := e.Data["who"].(string)
			if e.UID == "gate" && e.Data["reason"] == reason && strings.HasSuffix(who, ", control socket") && !strings.HasPrefix(who, ",") {
				return true
			}
		}
		return false
	})
	s.Stop()

	// Untouched.
	out, code = away.verify("export.mp4")
	for _, want := range []string{`reason: "theft of a \"bicycle\""`, "byte for byte", "signed chain of the recording", `stream gate "North gate"`, "nothing was recorded from", "none foreign", "0 findings"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said", want)
		}
	}
	if code != 0 || strings.Contains(out, "statement alone") {
		t.Errorf("untouched: exit %d\n%s", code, out)
	}
	whole := out
	if out, code = verb(t, "verify", "-c", s.Conf, away.path("export.mp4")); code != 0 || !strings.Contains(out, "byte for byte") {
		t.Errorf("with the settings' keys: exit %d\n%s", code, out)
	}
	var j struct {
		Exports []struct {
			Identical bool `json:"identical_to_export"`
			Sound     bool `json:"proof_is_sound"`
			Tracks    []struct{ Frames, Recorded, Signed int }
		}
	}
	if out, _ = away.verify("--json", "export.mp4"); json.Unmarshal([]byte(out), &j) != nil || len(j.Exports) != 1 || !j.Exports[0].Identical || !j.Exports[0].Sound ||
		len(j.Exports[0].Tracks) != 2 || j.Exports[0].Tracks[0].Frames < 200 || j.Exports[0].Tracks[0].Signed != j.Exports[0].Tracks[0].Frames {
		t.Errorf("--json: %s", out)
	}
	// Cut without being encoded anew, and encoded anew.
	away.ffmpeg("-ss", "2", "-t", "3", "-i", "export.mp4", "-c", "copy", "clip.mp4")
	out, code = away.verify("--proof", "export.mp4.proof", "clip.mp4")
	if code != 0 || strings.Count(out, "none foreign") != 2 || !strings.Contains(out, "not byte for byte") {
		t.Errorf("a clip: exit %d\n%s", code, out)
	}
	clip := out
	away.ffmpeg("-i", "export.mp4", "-c:v", "mpeg4", "-c:a", "copy", "anew.mp4")
	if out, code = away.verify("--proof", "export.mp4.proof", "anew.mp4"); code != 1 || !strings.Contains(out, "encoded anew") {
		t.Errorf("encoded anew: exit %d\n%s", code, out)
	}
	if out, code = away.verify("clip.mp4"); code != 2 || !strings.Contains(out, "--proof FILE") {
		t.Errorf("without its proof: exit %d\n%s", code, out)
	}
	// Changed.
	proof := func(name string) {
		away.change("export.mp4.proof", name+".proof", func(b []byte) []byte { return b })
	}
	away.change("export.mp4", "bytes.mp4", func(b []byte) []byte {
		for i := range 2000 { // more than what may lie between two frames
			b[len(b)/2+i] ^= 0x10
		}
		return b
	})
	proof("bytes.mp4")
	if out, code = away.verify("bytes.mp4"); code != 1 || !strings.Contains(out, "altered") {
		t.Errorf("bytes changed: exit %d\n%s", code, out)
	}
	away.change("export.mp4", "tail.mp4", func(b []byte) []byte { return b[:len(b)*2/3] })
	proof("tail.mp4")
	if out, code = away.verify("tail.mp4"); code != 1 || !strings.Contains(out, "cut off") {
		t.Errorf("the tail cut: exit %d\n%s", code, out)
	}
	away.change("export.mp4", "said.mp4", func(b []byte) []byte { return b })
	away.change("export.mp4.proof", "said.mp4.proof", func(b []byte) []byte { return []byte(strings.Replace(string(b), "theft", "gifts", 1)) })
	if out, code = away.verify("said.mp4"); code != 1 || !strings.Contains(out, "changed after it was made") {
		t.Errorf("the reason changed: exit %d\n%s", code, out)
	}
	out, code = away.verify("now.mp4")
	if code != 0 || !strings.Contains(out, "was not closed and signed yet") || !strings.Contains(out, "statement alone") {
		t.Errorf("footage that was growing: exit %d\n%s", code, out)
	}
	t.Logf("\n%s%s%s", whole, clip, out)
	harness.Row(t, "an export proves itself elsewhere", 0, "%d of %d pictures in signed chains across a gap and a kill; a clip cut by ffmpeg verifies; altered, cut and newly encoded ones are named",
		j.Exports[0].Tracks[0].Signed, j.Exports[0].Tracks[0].Frames)
}

// TestExportProofUnsigned: where no pool signs, a key is made for the first
// proof, which says whose word it is; over HTTP it takes the right to export.
func TestExportProofUnsigned(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	s.Sim("gate", "", "dvr-chunk = 2s")
	s.Start()
	footage(s, "gate")
	time.Sleep(3 * time.Second) // real cameras take real time
	s.Close("gate")
	f := s.Footage("gate")
	from, to := f.Ranges[0].From, f.Ranges[0].To
	away := &elsewhere{t, t.TempDir()}
	if out, code := verb(t, "export", "gate", "-c", s.Conf, "--from", fmt.Sprint(from), "--to", fmt.Sprint(to), "-o", away.path("export.mp4"), "--proof"); code != 0 {
		t.Fatalf("export: exit %d\n%s", code, out)
	}
	key, err := exec.Command(filepath.Join(harness.Bin, "media-server"), "keys", "public", "-c", s.Conf).Output()
	if err == nil {
		err = os.WriteFile(away.path("public.pem"), key, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, code := away.verify("export.mp4")
	if code != 0 || !strings.Contains(out, "was never signed") || !strings.Contains(out, "server's statement alone") || strings.Contains(out, "belong to the signed chain") {
		t.Errorf("exit %d\n%s", code, out)
	}
	s.Until("the key to be wanted elsewhere", func() bool {
		for _, p := range s.Problems() {
			if strings.Contains(p.What, "signing key has not been saved") {
				return true
			}
		}
		return false
	})
	ask := func(role, match string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/api/v1/streams/gate/proof?from=%d&to=%d&by=somebody&reason=r", s.HTTP, from, to), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.Verb("token", "api", "--role", role, "--name", "tok-"+role))
		if match != "" {
			req.Header.Set("If-Match", match)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if status, _ := ask("viewer", ""); status != 403 {
		t.Errorf("a viewer: %d", status)
	}
	if status, body := ask("operator", `"another"`); status != 412 || !strings.Contains(body, "changed") {
		t.Errorf("another export: %d %s", status, body)
	}
	for range 4 { // none of them keeps a place
		status, body := ask("operator", "")
		if status != 200 || !strings.HasPrefix(body, "media-server proof 1\n") || !strings.Contains(body, `exporter = "token tok-operator"`) || !strings.Contains(body, "\nsignature ") {
			t.Fatalf("an operator: %d %.300s", status, body)
		}
	}
}
