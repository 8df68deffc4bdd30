package rtspsource

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/pion/rtp"

	"media-server/core/media"
	"media-server/plugins/sdk"
)

// BenchmarkCameras measures the CPU that this process takes to receive 100
// cameras of 2 Mbit/s (25 pictures a second of 10 kB in 7 packets) over TCP for
// five seconds; the cameras are another process. FIGURES.md keeps the results.
//
//	go test -run xxx -bench Cameras -benchtime 1x ./plugins/internal/rtspsource
func BenchmarkCameras(b *testing.B) {
	const cameras = 100
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, url string, units *atomic.Int64)
	}{
		{"gathering", func(ctx context.Context, url string, n *atomic.Int64) {
			Capture(ctx, Config{URL: url, Transport: TCP}, &discard{n: n})
		}},
		{"plain", func(ctx context.Context, url string, n *atomic.Int64) {
			Capture(ctx, Config{URL: url, Transport: TCP, NoGather: true}, &discard{n: n})
		}},
		{"gortsplib", gortsplibClient},
	} {
		b.Run(c.name, func(b *testing.B) {
			url := generator(b)
			for b.Loop() {
				ctx, cancel := context.WithCancel(b.Context())
				var wg sync.WaitGroup
				var units atomic.Int64
				for range cameras {
					wg.Go(func() { c.run(ctx, url, &units) })
				}
				time.Sleep(5 * time.Second) // rates are measured, marks set
				before, n := cpuTime(), units.Load()
				time.Sleep(5 * time.Second)
				b.ReportMetric((cpuTime()-before).Seconds()/5, "cores")
				b.ReportMetric(float64(units.Load()-n)/5/cameras, "units/s/camera")
				cancel()
				wg.Wait()
			}
		})
	}
}

type discard struct {
	n     *atomic.Int64
	stats sdk.Stats
}

func (d *discard) Open([]media.Track, string, ...sdk.LeftOut) error { return nil }
func (d *discard) Write(media.AccessUnit) error                     { d.n.Add(1); return nil }
func (d *discard) Stats() *sdk.Stats                                { return &d.stats }
func (d *discard) AtOnce() bool                                     { return false }

// gortsplibClient is the lower bound of others: packets are counted by marker
// and thrown away.
func gortsplibClient(ctx context.Context, url string, n *atomic.Int64) {
	u, err := base.ParseURL(url)
	if err != nil {
		panic(err)
	}
	tcp := gortsplib.TransportTCP
	c := gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Transport: &tcp}
	if err := c.Start2(); err != nil {
		panic(err)
	}
	defer c.Close()
	d, _, err := c.Describe(u)
	if err != nil {
		panic(err)
	}
	if _, err := c.Setup(d.BaseURL, d.Medias[0], 0, 0); err != nil {
		panic(err)
	}
	c.OnPacketRTP(d.Medias[0], d.Medias[0].Formats[0], func(p *rtp.Packet) {
		if p.Marker {
			n.Add(1)
		}
	})
	if _, err := c.Play(nil); err != nil {
		panic(err)
	}
	<-ctx.Done()
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

const generatorEnv = "RTSPSOURCE_GENERATOR"

// generator starts the cameras in a process of their own; it ends with its
// standard input.
func generator(b *testing.B) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), generatorEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return "rtsp://" + strings.TrimSpace(line) + "/x"
}

// generate is what that process does.
func generate() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f := fake{sdp: fakeSDP, play: tenKilobytes}
			go f.serve(&fakeConn{Conn: c})
		}
	}()
	var b [1]byte
	os.Stdin.Read(b[:])
	os.Exit(0)
}

func tenKilobytes(c *fakeConn) {
	picture := fu(append([]byte{0x41, 0x9a}, make([]byte, 9800)...), 1400)
	seq := uint16(0)
	next := time.Now()
	for i := 0; ; i++ {
		if i%25 == 0 {
			c.Write(framed(1, srBytes(1, time.Now(), uint32(i*3600))))
		}
		for j, p := range picture {
			if _, err := c.Write(framed(0, rtpBytes(96, j == len(picture)-1, seq, uint32(i*3600), 1, p...))); err != nil {
				return
			}
			seq++
		}
		next = next.Add(40 * time.Millisecond)
		time.Sleep(time.Until(next))
	}
}
