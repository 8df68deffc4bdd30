package archive

import (
	"crypto/rand"
	"encoding/binary"
	"syscall"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

// largePart is half a second of an 8 Mbit/s camera, as the writer makes it.
func largePart(b testing.TB) *media.Part {
	tracks := []media.Track{{ID: 1, Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9}, PPS: []byte{0x68, 0xeb}}}
	born := media.WallOf(time.Now())
	w := mux.NewWriter(mux.Config{Chain: true, Epoch: 1}, mux.Start{Run: media.RunID{1}, Zero: mux.Zero(born), Tracks: tracks})
	for i := range 100 {
		p := make([]byte, 40_000)
		rand.Read(p[5:])
		binary.BigEndian.PutUint32(p, uint32(len(p)-4))
		if p[4] = 0x41; i%25 == 0 {
			p[4] = 0x65
		}
		parts, _, err := w.Write(media.AccessUnit{Track: 1, Seq: uint64(i), PTS: int64(i) * 3600, DTS: int64(i) * 3600, HasDTS: true, Key: i%25 == 0, Payload: p}, born.Add(time.Duration(i)*40*time.Millisecond), nil)
		if err != nil {
			b.Fatal(err)
		}
		if len(parts) > 0 && i > 30 {
			return parts[0]
		}
	}
	b.Fatal("no part was made")
	return nil
}

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkSeal is what a gigabyte costs to sign, to encrypt, both, and to
// decrypt: CPU-seconds, collector included. The bound for both is 1.
func BenchmarkSeal(b *testing.B) {
	var key [32]byte
	rand.Read(key[:])
	c, err := newCipher(Encryption{Key: KeyID{1}}, &key)
	if err != nil {
		b.Fatal(err)
	}
	p := largePart(b)
	size := p.Size()
	run := func(name string, fn func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			from := cpu()
			n := 0
			for b.Loop() {
				fn()
				n++
			}
			b.ReportMetric((cpu()-from).Seconds()/float64(n)/float64(size)*1e9, "CPU-s/GB")
		})
	}
	ch := beginChain([]byte("head"))
	run("sign", func() {
		for i := range p.Fragments {
			ch.add(&p.Fragments[i])
		}
	})
	run("encrypt", func() {
		s, err := c.seal(p)
		if err != nil {
			b.Fatal(err)
		}
		s.Release()
	})
	run("encrypt and sign", func() {
		s, err := c.seal(p)
		if err != nil {
			b.Fatal(err)
		}
		for i := range s.Fragments {
			ch.add(&s.Fragments[i])
		}
		s.Release()
	})
	s, err := c.seal(p)
	if err != nil {
		b.Fatal(err)
	}
	f := &s.Fragments[0]
	buf := make([]byte, f.Size(), f.Size()+16)
	run("decrypt", func() {
		copy(buf, f.Head)
		copy(buf[len(f.Head):], f.Payload)
		if _, err := c.open(buf[:len(f.Head)], buf[len(f.Head):]); err != nil {
			b.Fatal(err)
		}
	})
}
