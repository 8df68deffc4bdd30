package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Put writes a stream file, whole or not at all.
func (s *Server) Put(uid string, lines ...string) {
	s.T.Helper()
	s.PutText(uid, fmt.Sprintf("[%s]\n%s\n", uid, strings.Join(lines, "\n")))
}

// PutText writes a stream file as given.
func (s *Server) PutText(uid, text string) {
	s.T.Helper()
	path := filepath.Join(s.Streams, uid+".ini")
	err := os.WriteFile(path+".tmp", []byte(text), 0o644)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		s.T.Fatal(err)
	}
}

// Sim adds a simulated camera and returns its sent-ledger.
func (s *Server) Sim(uid, query string, lines ...string) (sent string) {
	s.T.Helper()
	sent = filepath.Join(s.Dir, uid+".csv")
	u := "sim://?ledger=" + sent
	if query != "" {
		u += "&" + query
	}
	s.Put(uid, append([]string{"stream-url = " + u, "stream-access = public"}, lines...)...)
	return sent
}

// Remove takes a stream file away.
func (s *Server) Remove(uid string) {
	s.T.Helper()
	if err := os.Remove(filepath.Join(s.Streams, uid+".ini")); err != nil {
		s.T.Fatal(err)
	}
}

// Active waits until streams record.
func (s *Server) Active(uids ...string) {
	s.T.Helper()
	for _, uid := range uids {
		var st Stream
		s.Until(uid+" to record", func() bool {
			st = s.Stream(uid)
			return st.State == "active" && st.Recording
		})
	}
}

// Past waits until frames captured at ms have been received.
func (s *Server) Past(ms int64, uids ...string) {
	s.T.Helper()
	for _, uid := range uids {
		s.Until(fmt.Sprintf("%s to pass %d", uid, ms), func() bool { return s.Stream(uid).LastFrame > ms })
	}
}
