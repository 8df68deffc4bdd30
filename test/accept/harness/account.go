package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"media-server/test/ledger"
)

// Camera is a stream to account for.
type Camera struct {
	UID    string
	Sent   string // sent-ledger
	Camera string // its name in tokens; "" = uid
	Rules  ledger.Rules
	Door   string // mp4 (default) or hls
	HLS    string // tracks that HLS carries, such as "va"; "" = all
}

// Close ends the capture of streams, which seals their files, and returns the
// instant (Unix ns) up to which every frame sent must be accounted for: all of
// it had been received before.
func (s *Server) Close(uids ...string) (to int64) {
	s.T.Helper()
	now := time.Now()
	s.Past(now.UnixMilli(), uids...)
	listed := func(uid string) bool {
		f := s.Footage(uid)
		return len(f.Ranges) > 0 && f.Ranges[len(f.Ranges)-1].To > now.UnixMilli()-1100
	}
	// Received is not recorded: after a new start a stream waits for its next key
	// frame, with some cameras for 30 s.
	for _, uid := range uids {
		s.Until(uid+" to be recorded", func() bool { return listed(uid) })
	}
	for _, uid := range uids {
		s.Remove(uid)
	}
	for _, uid := range uids {
		s.Until(uid+" to be closed", func() bool {
			st := s.Stream(uid)
			return (st.UID == "" || st.Removed) && listed(uid)
		})
	}
	return now.UnixNano() - int64(200*time.Millisecond)
}

// Account reads a stream back and accounts for every frame sent.
func (s *Server) Account(c Camera) *ledger.Report {
	s.T.Helper()
	r, err := s.TryAccount(c)
	if err != nil {
		s.T.Fatalf("%s: %v", c.UID, err)
	}
	return r
}

// TryAccount is Account for those that expect trouble.
func (s *Server) TryAccount(c Camera) (*ledger.Report, error) {
	sent, err := ledger.ReadSent(c.Sent)
	if err != nil {
		return nil, err
	}
	name := c.Camera
	if name == "" {
		name = c.UID
	}
	maps.DeleteFunc(sent, func(id ledger.ID, _ []ledger.Unit) bool { return id.Camera != name })
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute)
	defer stop()
	m, err := s.Read(ctx, c.UID, c.Door)
	if err != nil {
		return nil, err
	}
	r := c.Rules
	if r.Gaps == nil {
		gaps, err := ledger.Source{URL: s.HTTP + "/dvr/" + c.UID + "/ranges.json"}.Gaps(ctx)
		if err != nil {
			return nil, err
		}
		r.Gaps = map[string][]ledger.Gap{"": gaps}
	}
	if c.Door == "hls" && c.HLS != "" {
		ignore := r.Ignore
		r.Ignore = func(id ledger.ID) bool {
			return !strings.ContainsRune(c.HLS, rune(id.Track)) || ignore != nil && ignore(id)
		}
	}
	return ledger.Compare(sent, m, r), nil
}

// Read reads all footage of a stream through a door.
func (s *Server) Read(ctx context.Context, uid, door string) (*ledger.Media, error) {
	f := s.Footage(uid)
	if len(f.Ranges) == 0 {
		return nil, fmt.Errorf("%s has no footage", uid)
	}
	file := map[string]string{"": "record.mp4", "mp4": "record.mp4", "hls": "playlist.m3u8"}[door]
	dir, err := os.MkdirTemp(s.Dir, "read")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	from, to := f.Ranges[0].From, f.Ranges[len(f.Ranges)-1].To+1000
	return ledger.Read(ctx, ledger.Source{Temp: dir, Client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Second}},
		URL: fmt.Sprintf("%s/dvr/%s/%s?from=%d&to=%d", s.HTTP, uid, file, from, to)})
}

// Judge fails the test when a report shows failures, and gives it a line.
func (s *Server) Judge(what string, r *ledger.Report) (line string) {
	s.T.Helper()
	t := Totals{}
	t.Add(r)
	var b strings.Builder
	r.Write(&b)
	if r.Failures() > 0 {
		s.T.Errorf("%s:\n%s", what, b.String())
	} else if testing.Verbose() {
		s.T.Logf("%s:\n%s", what, b.String())
	}
	return t.String()
}

// Totals sums reports.
type Totals struct {
	Sent, Present, Lost, Doubled, Disorder, Misplaced, Alien, InGaps, BeforeKey, Head, Tail int
	Worst                                                                                   time.Duration // |shown - captured|
}

// Add takes a report in.
func (t *Totals) Add(r *ledger.Report) {
	for _, x := range r.Tracks {
		t.Sent += x.Sent
		t.Present += x.Present
		t.Lost += x.Lost
		t.Doubled += x.Doubled
		t.Disorder += x.Disorder
		t.Misplaced += x.Misplaced
		t.Alien += x.Unsent + x.Forged
		t.InGaps += x.InGaps
		t.BeforeKey += x.BeforeKey
		t.Head += x.Head
		t.Tail += x.Tail
		if x.Timed > 0 {
			t.Worst = max(t.Worst, x.Error.Min.Abs(), x.Error.Max.Abs())
		}
	}
}

func (t Totals) String() string {
	s := fmt.Sprintf("%d of %d frames, %d lost, %d doubled, %d out of order, %d misplaced (worst %.1f ms)",
		t.Present, t.Sent, t.Lost, t.Doubled, t.Disorder, t.Misplaced, float64(t.Worst.Microseconds())/1000)
	if t.InGaps+t.BeforeKey > 0 {
		s += fmt.Sprintf(", %d in reported gaps, %d before the next key frame", t.InGaps, t.BeforeKey)
	}
	if t.Head > 0 {
		s += fmt.Sprintf(", %d before the first key frame", t.Head)
	}
	return s
}

// Files lists the media files of a space, sealed and open.
func Files(space string) []string {
	var out []string
	_ = fs.WalkDir(os.DirFS(space), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(p, ".mp4") {
			out = append(out, p)
		}
		return nil
	})
	return out
}

// Missing tells whether an error says that a file is not there.
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
