package camera

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"time"
)

// equal tells whether both describe the same camera.
func (s Settings) equal(o Settings) bool { return reflect.DeepEqual(s, o) }

// follow lets numbers go on from a camera of the same name.
func (c *camera) follow(old *camera) {
	for _, t := range c.tracks {
		for _, o := range old.tracks {
			if o.letter == t.letter {
				t.number = max(t.number, o.number)
			}
		}
	}
}

// socket takes cues, one a line: "NAME VERB[=DURATION]"; each is answered by
// "ok N" or "error …".
type socket struct {
	ln      net.Listener
	serving bool
	conns   map[net.Conn]bool
}

// listen makes the control socket, once for each path.
func (e *Engine) listen(path string) error {
	if path == "" || e.sockets[path] != nil {
		return nil
	}
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSocket != 0 {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return fmt.Errorf("control socket %s is in use by another process", path)
		}
		os.Remove(path) // left behind by a process that was killed
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	s := &socket{ln: ln, conns: map[net.Conn]bool{}}
	e.sockets[path] = s
	if e.ctx != nil {
		e.serve(s)
	}
	return nil
}

// serve is called with e.mu held.
func (e *Engine) serve(s *socket) {
	if s.serving {
		return
	}
	s.serving = true
	e.wg.Go(func() {
		for {
			c, err := s.ln.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			over := e.ctx.Err() != nil || len(s.conns) >= 16
			if !over {
				s.conns[c] = true
				e.wg.Go(func() { e.converse(s, c) })
			}
			e.mu.Unlock()
			if over {
				c.Close()
			}
		}
	})
}

func (e *Engine) converse(s *socket, c net.Conn) {
	defer func() {
		e.mu.Lock()
		delete(s.conns, c)
		e.mu.Unlock()
		c.Close()
	}()
	sc := bufio.NewScanner(c)
	sc.Buffer(nil, 4096)
	for sc.Scan() {
		name, what, _ := strings.Cut(strings.TrimSpace(sc.Text()), " ")
		n, err := e.Cue(name, what)
		if err != nil {
			_, err = fmt.Fprintf(c, "error %v\n", err)
		} else {
			_, err = fmt.Fprintf(c, "ok %d\n", n)
		}
		if err != nil {
			return
		}
	}
}

func (s *socket) close() {
	s.ln.Close()
	for c := range s.conns {
		c.Close()
	}
}
