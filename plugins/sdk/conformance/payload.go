package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"media-server/plugins/sdk/pb"
)

// judge says what is wrong with the form of a unit; pieces are put together
// first.
func (w *watch) judge(u *pb.Unit) error {
	p := append(w.pieces[u.Track], u.Payload...)
	if u.Flags&uint32(pb.Unit_MORE) != 0 {
		w.pieces[u.Track] = p
		return nil
	}
	delete(w.pieces, u.Track)
	var track *pb.Track
	for _, t := range w.opened.Tracks {
		if t.Id == u.Track {
			track = t
		}
	}
	err := form(track.GetCodec(), p)
	video := false
	switch track.GetCodec() {
	case "h264", "h265", "mjpeg":
		video = true
	}
	if err == nil && !video && u.Flags&uint32(pb.Unit_KEY) == 0 {
		err = errors.New("without KEY, though each unit of this codec is a random access point")
	}
	if err == nil && u.ReceivedMono != 0 {
		var now unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) == nil {
			if d := time.Duration(now.Nano() - int64(u.ReceivedMono)); d < -time.Second || d > time.Hour {
				err = fmt.Errorf("received_mono is %v ago on CLOCK_BOOTTIME", d)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("track %d (%s), unit %d of %d bytes: %w", u.Track, track.GetCodec(), u.Sequence, len(p), err)
	}
	return nil
}

// form holds a payload against the table of PROTOCOL.md.
func form(codec string, p []byte) error {
	switch codec {
	case "h264", "h265":
		for first := true; len(p) > 0; first = false {
			if len(p) < 5 {
				return fmt.Errorf("%d bytes are left behind the last NAL unit", len(p))
			}
			n := uint64(binary.BigEndian.Uint32(p))
			if n == 0 || n > uint64(len(p)-4) {
				if first && (n == 1 || n>>8 == 1) {
					return errors.New("it begins with a start code, not with the length of a NAL unit in 4 bytes")
				}
				return fmt.Errorf("a NAL unit of %d bytes in %d", n, len(p)-4)
			}
			typ, aud := p[4]&31, byte(9)
			if codec == "h265" {
				typ, aud = p[4]>>1&63, 35
			}
			if typ == aud {
				return errors.New("it holds an access unit delimiter")
			}
			p = p[4+n:]
		}
	case "mjpeg":
		if !bytes.HasPrefix(p, []byte{0xff, 0xd8}) || !bytes.HasSuffix(p, []byte{0xff, 0xd9}) {
			return errors.New("it does not reach from SOI to EOI")
		}
	case "aac":
		if len(p) > 1 && p[0] == 0xff && p[1]&0xf0 == 0xf0 {
			return errors.New("it begins with an ADTS header")
		}
	case "metadata":
		if x := bytes.TrimLeft(p, " \t\r\n\ufeff"); len(x) == 0 || x[0] != '<' {
			return errors.New("it is not an XML document")
		}
	case "opus", "pcma", "pcmu":
	default:
		return fmt.Errorf("the codec %q is not of the protocol", codec)
	}
	return nil
}

func payloads(k *kit) error {
	c, w, err := k.begin("payload", 10)
	if err != nil {
		return err
	}
	c.close()
	return w.form
}

func misuse(k *kit) error {
	for what, m := range map[string]*pb.FramesRequest{
		"a second Hello": {Message: &pb.FramesRequest_Hello{Hello: &pb.Hello{Epoch: k.epoch}}},
		"a run of 3 bytes": {Message: &pb.FramesRequest_Subscribe{Subscribe: &pb.Subscribe{Handle: 2, Uid: "misuse-2", Url: k.o.URL,
			Settings: k.o.Settings, ReadTimeoutMs: 5000, Resume: []*pb.RunPosition{{Run: []byte("abc")}}}}},
		"a handle for a second uid": {Message: &pb.FramesRequest_Subscribe{Subscribe: &pb.Subscribe{Handle: 1, Uid: "misuse-2", Url: k.o.URL,
			Settings: k.o.Settings, ReadTimeoutMs: 5000}}},
	} {
		c, _, err := k.begin("misuse", 1)
		if err != nil {
			return err
		}
		c.send(m)
		err = c.ended()
		c.close()
		if err := wantCode(err, codes.InvalidArgument); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func takeover(k *kit) error {
	c, _, err := k.begin("takeover", 1)
	if err != nil {
		return err
	}
	defer c.close()
	again, err := k.connect(k.epoch)
	if err != nil {
		return err
	}
	defer again.close()
	return wantCode(c.ended(), codes.Aborted)
}

func changed(k *kit) error {
	c, w, err := k.begin("changed", 2)
	if err != nil {
		return err
	}
	defer c.close()
	old := w.opened.Run
	c.send(&pb.FramesRequest{Message: &pb.FramesRequest_Subscribe{Subscribe: &pb.Subscribe{
		Handle: 2, Uid: "changed", Url: k.o.URL, Settings: k.o.Settings, ReconnectFirstMs: 500, ReconnectMaxMs: 2000, ReadTimeoutMs: 6000,
		Resume: []*pb.RunPosition{w.position(0)},
	}}})
	again := c.watch(2)
	told := false
	err = again.until(func() bool {
		told = told || again.closed != nil && bytes.Equal(again.closed.Run, old) && again.closed.Cause == pb.Cause_CHANGED
		return again.opened != nil && !bytes.Equal(again.opened.Run, old) && again.units > 0
	})
	if err != nil {
		return fmt.Errorf("no new run: %w", err)
	}
	if !told {
		return errors.New("the old run was not ended with CHANGED")
	}
	return nil
}
