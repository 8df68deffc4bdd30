package cameras

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Behind is how much a session may leave untaken before units are dropped:
// about 16 s of a camera. Real ones have less; a reader that is late by that
// much has failed anyway.
const Behind = 4 << 20

// tokenLen is the length of every token: numbers have fixed widths here, so
// that they can be patched in place.
const tokenLen = 5 + 9 + 1 + 1 + 1 + 8 + 1 + 19 + 1 // MSL1:cam-00000:v:00000000:0000000000000000000;

// Name is the camera's name in URLs and tokens.
func Name(i int) string { return fmt.Sprintf("cam-%05d", i) }

// Picture is the time of picture n of camera i: phases are spread evenly.
func (s *Server) picture(i int, n int64) int64 {
	phase := int64(i) * 1237 % 2000 // ms within a GOP: key frames of cameras do not coincide
	return s.start + phase*int64(time.Millisecond) + n*int64(time.Second)/Rate
}

func (s *Server) frame(i int, n int64) int64 {
	phase := int64(i)*617%1000 + 3
	return s.start + phase*int64(time.Millisecond) + n*AUSamples*int64(time.Second)/SampleRate
}

// due is the next unit of a track of a session.
type due struct {
	at  int64
	s   *session
	vid bool
}

type queue []due

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(due)) }
func (q *queue) Pop() any {
	o := *q
	x := o[len(o)-1]
	*q = o[:len(o)-1]
	return x
}

// pacer writes what is due, for some of the sessions.
type pacer struct {
	srv     *Server
	mu      sync.Mutex
	fresh   []*session
	q       queue
	scratch []byte
}

// run goes on until the process ends.
func (p *pacer) run() {
	for {
		p.mu.Lock()
		fresh := p.fresh
		p.fresh = nil
		p.mu.Unlock()
		now := time.Now().UnixNano()
		for _, s := range fresh {
			for s.nextV = 0; p.srv.picture(s.camera, s.nextV) < now; {
				s.nextV += max(1, (now-p.srv.picture(s.camera, s.nextV))*Rate/int64(time.Second))
			}
			for s.nextA = 0; p.srv.frame(s.camera, s.nextA) < now; {
				s.nextA += max(1, (now-p.srv.frame(s.camera, s.nextA))*SampleRate/AUSamples/int64(time.Second))
			}
			s.report = now + int64(time.Second)
			if s.channel[0] >= 0 {
				heap.Push(&p.q, due{p.srv.picture(s.camera, s.nextV), s, true})
			}
			if s.channel[1] >= 0 {
				heap.Push(&p.q, due{p.srv.frame(s.camera, s.nextA), s, false})
			}
		}
		for len(p.q) > 0 && p.q[0].at <= now {
			d := &p.q[0]
			if d.s.gone.Load() {
				heap.Pop(&p.q)
				continue
			}
			if late := now - d.at; late > p.srv.late.Load() {
				p.srv.late.Store(late)
			}
			d.at = p.send(d.s, d.vid, now)
			heap.Fix(&p.q, 0)
		}
		wait := 5 * time.Millisecond
		if len(p.q) > 0 {
			wait = min(wait, time.Duration(p.q[0].at-time.Now().UnixNano()))
		}
		time.Sleep(max(wait, 200*time.Microsecond))
	}
}

// send writes the next unit of a track and returns when the one after is due.
func (p *pacer) send(s *session, video bool, now int64) (next int64) {
	t, n, at, units := 0, s.nextV, p.srv.picture(s.camera, s.nextV), p.srv.clip.video
	ts := uint32(n * 90000 / Rate)
	if !video {
		t, n, at, units = 1, s.nextA, p.srv.frame(s.camera, s.nextA), p.srv.clip.audio
		ts = uint32(n * AUSamples)
	}
	u := &units[n%int64(len(units))]
	if video {
		s.nextV++
		next = p.srv.picture(s.camera, s.nextV)
	} else {
		s.nextA++
		next = p.srv.frame(s.camera, s.nextA)
	}
	cam := p.srv.cams[s.camera]
	if len(s.pend) > 0 && !s.flush() && len(s.pend) > Behind {
		p.srv.dropped.Add(1)
		s.seq[t] += uint16(len(u.packets))
		return next
	}
	b := append(p.scratch[:0], u.wire...)
	for _, o := range u.packets {
		b[o+1] = byte(s.channel[t])
		binary.BigEndian.PutUint16(b[o+6:], s.seq[t])
		binary.BigEndian.PutUint32(b[o+8:], ts)
		binary.BigEndian.PutUint32(b[o+12:], s.ssrc(t))
		s.seq[t]++
	}
	putToken(b[u.token:u.token+tokenLen], s.camera, t, cam.number[t], at)
	if now >= s.report && s.channel[t] >= 0 && video == (s.channel[0] >= 0) {
		s.report = now + 5*int64(time.Second)
		b = s.appendReports(b, p.srv, now)
	}
	p.scratch = b
	s.write(b)
	if cam.ledger != nil {
		key := "0"
		if u.key {
			key = "1"
		}
		fmt.Fprintf(cam.ledger, "%s,%c,%d,%d,%s,%d,\n", Name(s.camera), "va"[t], cam.number[t], at, key, u.payload)
	}
	cam.number[t]++
	p.srv.units.Add(1)
	return next
}

func putToken(b []byte, camera, track int, number uint64, at int64) {
	b = append(b[:0], "MSL1:cam-"...)
	b = pad(b, int64(camera), 5)
	b = append(b, ':', "va"[track], ':')
	b = pad(b, int64(number), 8)
	b = append(b, ':')
	b = strconv.AppendInt(b, at, 10)
	_ = append(b, ';')
}

func pad(b []byte, v int64, width int) []byte {
	n := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := n + width - 1; v > 0 && i >= n; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return b
}

// write sends what the socket takes and keeps the rest.
func (s *session) write(b []byte) {
	if len(s.pend) > 0 {
		s.pend = append(s.pend, b...)
		return
	}
	n := s.push(b)
	if n < len(b) {
		s.srv.blocked.Add(1)
		s.pend = append(s.pend, b[n:]...)
	}
}

// flush sends what was kept; true = all of it.
func (s *session) flush() bool {
	n := s.push(s.pend)
	s.pend = s.pend[:copy(s.pend, s.pend[n:])]
	return len(s.pend) == 0
}

func (s *session) push(b []byte) (n int) {
	err := s.raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			k, err := unix.Write(int(fd), b[n:])
			if err == unix.EINTR {
				continue
			}
			if err == unix.EAGAIN {
				return true
			}
			if err != nil || k <= 0 {
				s.gone.Store(true)
				return true
			}
			n += k
			s.srv.bytes.Add(int64(k))
		}
		return true
	})
	if err != nil {
		s.gone.Store(true)
	}
	return n
}
