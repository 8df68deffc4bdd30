package pluginhost

import (
	"bytes"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"media-server/core/media"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

func FuzzOpened(f *testing.F) {
	b, _ := proto.Marshal(&pb.Opened{Run: bytes.Repeat([]byte{1}, 16), Tracks: []*pb.Track{{Id: 1, Codec: "h264", Timescale: 90000}}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &pb.Opened{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		o, what := openedOf(m)
		if what != "" {
			return
		}
		for _, tr := range o.Tracks {
			if tr.ID < 1 || tr.ID > maxTracks || tr.Timescale == 0 || tr.Kind() == media.KindUnknown {
				t.Errorf("taken: %+v", tr)
			}
		}
	})
}

// FuzzPieces: whatever comes in whatever pieces, no unit is longer than
// allowed, none is made of pieces of another, and the count of bytes held
// returns to zero.
func FuzzPieces(f *testing.F) {
	f.Add([]byte{1, 4, 7, 3, 1, 0, 7, 3})
	f.Add([]byte{1, 4, 7, 3, 1, 4, 8, 3, 1, 0, 8, 3, 2, 0, 1, 1, 200, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c capture
		c.tracks[1], c.tracks[2] = true, true
		c.opened.Store(true)
		held := 0
		for ; len(b) >= 4; b = b[4:] {
			u := codec.Unit{Track: uint32(b[0]), Flags: uint32(b[1]), Sequence: uint64(b[2]), Payload: bytes.Repeat([]byte{b[2]}, int(b[3]))}
			before := len(c.units)
			ok := c.take(&u, &held)
			if len(c.units) > before {
				got := c.units[before]
				if !ok || got.Seq != u.Sequence || bytes.Count(got.Payload, []byte{b[2]}) != len(got.Payload) {
					t.Errorf("unit %d made of others: %v", got.Seq, got.Payload)
				}
			}
		}
		if held+c.reset() != 0 {
			t.Errorf("%d bytes are thought to be held", held)
		}
	})
}

func FuzzDescriptorReply(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 9}, true)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 9}, false)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0}, true)
	f.Add([]byte{3}, true)
	null, err := os.Open(os.DevNull)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { null.Close() })
	f.Fuzz(func(t *testing.T, reply []byte, descriptor bool) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		here, there := connOf(t, fds[0]), connOf(t, fds[1])
		defer here.Close()
		var oob []byte
		if descriptor {
			oob = unix.UnixRights(int(null.Fd()))
		}
		if len(reply) > 0 {
			there.WriteMsgUnix(reply, oob, nil)
		}
		there.CloseWrite()
		defer there.Close()
		file, err := askDescriptor(here, "main", "open/a")
		if err == nil {
			file.Close()
			if !descriptor || len(reply) < 9 || reply[0] != 0 {
				t.Errorf("%v taken for a descriptor", reply)
			}
		}
	})
}

func connOf(t *testing.T, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "pair")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}
