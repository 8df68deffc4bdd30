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
}

// JPEG plans the JPEG of the picture that At gives, at most width pixels wide, rounded
// up to one of still.Widths; 0 = as large as it is.
func (s *Server) JPEG(uid string, at media.Wall, live bool, width int) (*JPEG, error) {
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
	j.Tag = `"` + hex.EncodeToString(h.Sum(nil)[:12]) + `"`
	return j, nil
}

// Body gives the picture, which the caller releases; it is called once. A picture of
// MJPEG is given as large as it is where nothing can make it smaller.
func (j *JPEG) Body() (*timeline.Body, error) {
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
