package camera

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"media-server/test/ledger"
)

// listener is a client that reads tokens right out of RTP packets.
type listener struct {
	client gortsplib.Client
	ended  chan error

	mu     sync.Mutex
	tracks map[string]*heard // media type
}

type heard struct {
	rate    uint32
	jpeg    bool
	buf     []byte
	units   []unit
	report  *rtcp.SenderReport
	reports int
}

type unit struct {
	found ledger.Found
	rtp   uint32
}

func play(t *testing.T, address, transport string) (*listener, error) {
	t.Helper()
	u, err := base.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{tracks: map[string]*heard{}, ended: make(chan error, 1)}
	tr := gortsplib.TransportTCP
	if transport == "udp" {
		tr = gortsplib.TransportUDP
	}
	l.client = gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Transport: &tr}
	if err := l.client.Start2(); err != nil {
		return nil, err
	}
	desc, _, err := l.client.Describe(u)
	if err == nil {
		err = l.client.SetupAll(desc.BaseURL, desc.Medias)
	}
	if err != nil {
		l.client.Close()
		return nil, err
	}
	for _, m := range desc.Medias {
		h := &heard{rate: uint32(m.Formats[0].ClockRate())}
		_, h.jpeg = m.Formats[0].(*format.MJPEG)
		l.tracks[string(m.Type)] = h
	}
	l.client.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) { l.packet(l.tracks[string(m.Type)], p) })
	l.client.OnPacketRTCPAny(func(m *description.Media, p rtcp.Packet) {
		if sr, ok := p.(*rtcp.SenderReport); ok {
			l.mu.Lock()
			h := l.tracks[string(m.Type)]
			h.report = sr
			h.reports++
			l.mu.Unlock()
		}
	})
	if _, err := l.client.Play(nil); err != nil {
		l.client.Close()
		return nil, err
	}
	go func() { l.ended <- l.client.Wait() }()
	return l, nil
}

func (l *listener) packet(h *heard, p *rtp.Packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := p.Payload
	if h.jpeg && len(b) > 8 {
		// A token at the end of the scan may fall into two packets; RFC 2435
		// puts 8 bytes before each (and tables only into the first).
		h.buf = append(h.buf, b[8:]...)
		if !p.Marker {
			return
		}
		b, h.buf = h.buf, nil
	}
	for _, f := range ledger.Search(b) {
		h.units = append(h.units, unit{f, p.Timestamp})
	}
}

func start(t *testing.T, cameras []Camera) *Server {
	t.Helper()
	s, err := Start(context.Background(), t.TempDir(), 0, cameras)
	if errors.Is(err, ErrMissing) {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		said, err := s.Stop()
		if err != nil || strings.Contains(said, "Traceback") {
			t.Errorf("%v: %s", err, said)
		}
	})
	return s
}

// TestAllArrive hears ten cameras at once and accounts for every frame, with
// times taken from sender reports.
func TestAllArrive(t *testing.T) {
	cameras := append(Ten(), Camera{Name: "clock", ClockOffset: 3600, Drift: 100}, Camera{Name: "no-reports", NoReports: true})
	s := start(t, cameras)
	var heard []*listener
	for _, c := range cameras {
		l, err := play(t, s.URL(c.Name), c.Transport)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		heard = append(heard, l)
	}
	time.Sleep(7 * time.Second) // real cameras take real time; first reports come after 2 to 5 s
	for _, l := range heard {
		l.client.Close()
		<-l.ended
	}
	sent, err := ledger.ReadSent(s.Ledgers()...)
	if err != nil {
		t.Fatal(err)
	}
	m := &ledger.Media{}
	for i, c := range cameras {
		for kind, h := range heard[i].tracks {
			if c.NoReports != (h.reports == 0) {
				t.Errorf("%s: %d reports of %s", c.Name, h.reports, kind)
			}
			for _, u := range h.units {
				if h.report != nil {
					u.found.Shown = ntp(h.report, u.rtp, h.rate) - int64(c.ClockOffset*1e9)
				}
				m.Found = append(m.Found, u.found)
			}
		}
	}
	// Reports are exact to microseconds; the drift of 100 ppm makes 1 ms of 10 s.
	r := ledger.Compare(sent, m, ledger.Rules{Off: 5 * time.Millisecond})
	tracks := 0
	for _, tr := range r.Tracks {
		if tr.Present > 0 {
			tracks++
		}
		if tr.Present < 4 {
			t.Errorf("%s: %d frames", tr.ID, tr.Present)
		}
	}
	if r.Failures() > 0 || tracks != 23 {
		var b strings.Builder
		r.Write(&b)
		t.Errorf("%d tracks\n%s", tracks, b.String())
	}
}

// ntp is the Unix time that a report gives an RTP timestamp.
func ntp(sr *rtcp.SenderReport, ts, rate uint32) int64 {
	sec, frac := int64(sr.NTPTime>>32)-2208988800, int64(sr.NTPTime&0xffffffff)
	at := sec*1e9 + frac*1e9>>32
	return at + int64(int32(ts-sr.RTPTime))*1e9/int64(rate)
}

func TestCommands(t *testing.T) {
	s := start(t, []Camera{{Name: "a"}, {Name: "b"}})
	a, err := play(t, s.URL("a"), "tcp")
	if err != nil {
		t.Fatal(err)
	}
	b, err := play(t, s.URL("b"), "tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer b.client.Close()
	if n, err := s.Clients(); n != 2 || err != nil {
		t.Errorf("%d clients, %v", n, err)
	}
	if err := s.Drop("a", 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	<-a.ended // must be closed by the camera
	if l, err := play(t, s.URL("a"), "tcp"); err == nil {
		l.client.Close()
		t.Error("answers while it is away")
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		l, err := play(t, s.URL("a"), "tcp")
		if err == nil {
			l.client.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not come back: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := s.Silence("b", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := s.Silence("c", time.Second); err == nil {
		t.Error("a camera that is not there obeys")
	}
	select {
	case err := <-b.ended:
		t.Errorf("the other was disturbed: %v", err)
	default:
	}
}

// TestPreset compares Ten with the preset of the script.
func TestPreset(t *testing.T) {
	cmd := exec.Command(Python, "-B", "-c", "import json, camera; print(json.dumps(camera.TEN))")
	var err error
	if cmd.Dir, err = filepath.Abs("."); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(ErrMissing)
	}
	var theirs []Camera
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	ours := Ten()
	if len(theirs) != len(ours) {
		t.Fatalf("%d and %d cameras", len(theirs), len(ours))
	}
	for i := range ours {
		if ours[i] != theirs[i] {
			t.Errorf("%+v, %+v", ours[i], theirs[i])
		}
	}
}
