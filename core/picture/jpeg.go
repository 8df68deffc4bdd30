package picture

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/still"
	"media-server/core/timeline"
)

// formatVersion is part of every tag: raise it when the same frame gives another JPEG.
const formatVersion = 1

// mostFrame bounds the MP4 of a frame in memory: access units have 8 MB at most.
const mostFrame = 10 << 20

// JPEG is a planned JPEG. Nothing is read before Body is called.
type JPEG struct {
	At    media.Wall // when it was taken, server clock
	End   media.Wall // of the footage, when this was planned
	Tag   string     // names these bytes, as an ETag
	frame *mp4.Frame
	shot  still.Shot
	dec   Decoder
	own   []byte // the camera's
}

// JPEG plans the JPEG of the picture that At gives, at most width pixels wide, rounded
// up to one of still.Widths; 0 = as large as it is.
//
// Live and as large as it is, it is what the camera itself makes, where it does: that
// is newer than the last key frame, and nothing is decoded.
func (s *Server) JPEG(uid string, at media.Wall, live bool, width int) (*JPEG, error) {
	if live && width == 0 {
		if j := s.ofCamera(uid); j != nil {
			return j, nil
		}
	}
	m, end, err := s.frame(uid, at, live)
	if err != nil {
		return nil, err
	}
	if width > 0 {
		width = still.Step(width)
	}
	if w := m.Track.Width; w > 0 && width >= w {
		width = 0 // the same picture, made and kept once
	}
	j := &JPEG{At: m.Start, End: end, frame: m, dec: s.dec, shot: still.Shot{UID: uid, Run: m.Run, At: m.Start, Width: width}}
	h := sha256.New()
	fmt.Fprint(h, formatVersion, uid, "\x00")
	h.Write(m.Run[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(m.Start)))
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(width)))
	j.Tag = tag(h.Sum(nil))
	return j, nil
}

func tag(sum []byte) string { return `"` + hex.EncodeToString(sum[:12]) + `"` }

// ofCamera gives the camera's own picture; nil: it has none just now.
func (s *Server) ofCamera(uid string) *JPEG {
	if s.cam == nil {
		return nil
	}
	b, at, err := s.cam.Snapshot(uid)
	if err != nil || len(b) == 0 {
		return nil
	}
	sum := sha256.Sum256(b)
	return &JPEG{At: at, End: at, Tag: tag(sum[:]), own: b}
}

// Body gives the picture, which the caller releases; it is called once. A picture of
// MJPEG is given as large as it is where nothing can make it smaller.
func (j *JPEG) Body() (*timeline.Body, error) {
	if j.own != nil {
		body := new(timeline.Body)
		body.Add(j.own)
		return body, nil
	}
	motion := j.frame.Track.Codec == media.MJPEG
	if motion && j.shot.Width == 0 {
		return j.frame.Sample(), nil
	}
	b, err := j.dec.JPEG(j.shot, j.movie)
	if motion && errors.Is(err, still.ErrNoDecoder) {
		return j.frame.Sample(), nil
	}
	if err != nil {
		return nil, err
	}
	body := new(timeline.Body)
	body.Add(b)
	return body, nil
}

// movie reads the MP4 of the frame.
func (j *JPEG) movie() ([]byte, error) {
	body := j.frame.Body
	defer body.Release()
	if body.Size() > mostFrame {
		return nil, fmt.Errorf("%w: it has %d bytes", still.ErrDecode, body.Size())
	}
	b := make([]byte, body.Size())
	if _, err := body.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return b, nil
}
