package ports

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const foreignDir = "PORTS_FOREIGN_DIR"

// foreigner runs this test once more as another user, in a folder that everybody may
// use: foreignDir names it there.
func foreigner(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run something as another user")
	}
	exe := filepath.Join(t.TempDir(), "ports.test") // this one may lie where others may not look
	b, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(exe, b, 0o755)
	}
	for d := filepath.Dir(exe); err == nil && d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		err = os.Chmod(d, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), foreignDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

// TestForeignCore: another user gets no socket, though file modes were lost.
func TestForeignCore(t *testing.T) {
	if dir := os.Getenv(foreignDir); dir != "" {
		foreignCore(t, dir)
		return
	}
	p := newPlace(t)
	p.core().mustServe(freePort(t), "a")
	cmd := foreigner(t, p.dir)
	if err := os.Chmod(filepath.Join(p.dir, socketName), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// foreignCore runs as another user.
func foreignCore(t *testing.T, dir string) {
	t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = transmit(c, time.Second, nil, verbTake, "1000") // the connection may be closed already
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	m, err := receive(c)
	if err == nil || os.IsTimeout(err) {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestForeignHolder: a core neither speaks to what another user has put there
// nor ends it, and has a holder of its own.
func TestForeignHolder(t *testing.T) {
	if dir := os.Getenv(foreignDir); dir != "" {
		foreignHolder(t, dir)
		return
	}
	p := newPlace(t)
	cmd := foreigner(t, p.dir)
	out := &said{}
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.until("the other user to listen", func() bool { return strings.Contains(out.String(), "listening") })
	addr := freePort(t)
	c := p.core()
	c.mustServe(addr, "a")
	if !strings.Contains(p.said.String(), "of user 65534, not by one of ours") {
		t.Error("not told")
	}
	if p.pid() == 0 || !p.held(addr) {
		t.Error("the core has no holder of its own")
	}
	in.Close()
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// foreignHolder runs as another user, until its input ends.
func foreignHolder(t *testing.T, dir string) {
	t.Helper()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	asked := make(chan bool, 1)
	go func() {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		_, err = receive(c)
		asked <- err == nil
	}()
	os.Stdout.WriteString("listening\n")
	os.Stdin.Read(make([]byte, 1))
	if <-asked {
		t.Error("it was asked for sockets")
	}
}
