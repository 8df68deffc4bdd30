package mux

import (
	"math"

	"media-server/core/media"
)

// PartHeader is the box in front of each fragment (FORMAT.md, "Part header").
type PartHeader struct {
	Track         int
	First, Last   bool // first, last fragment of its part
	Independent   bool // as media.Part
	DurableTo     uint64
	Epoch         uint64
	Run           media.RunID
	Zero          media.Wall
	Segment       uint64
	Discontinuity uint64
	PartIndex     int
	MoofCRC       uint32
	FirstSeq      uint64
	LastSeq       uint64
	WallStart     media.Wall // presentation time of the first unit in decode order
	CameraPTS     int64      // its PTS as the camera sent it
	CameraOffset  int64      // camera clock - server clock, ns; NoCameraOffset = not known
	CameraNTP     media.Wall // its capture time by the camera's clock; 0 = not known
	Hashes        []uint64   // xxh64 of each unit; masked where Encrypted
	Clock         []byte     // state of the clock map; only in the first fragment of a part
	Seqs          []uint64   // sequence number of each unit; nil = FirstSeq, FirstSeq+1, …
	HasChain      bool       // has room for a chain link
	Chain         [32]byte   // link of the fragment before (archive, sign.go)
	Encrypted     bool       // the payload is: Encryption says how, and Hashes are masked
	Encryption    Encryption // where Encrypted

	CRC  uint32 // of the box, as stored
	Size int    // bytes of the box
}

// NoCameraOffset is the value of PartHeader.CameraOffset when it is not known.
const NoCameraOffset = math.MinInt64

// FragmentInfo describes one stored fragment.
type FragmentInfo struct {
	Header   PartHeader
	BaseTime int64 // tfdt
	Duration int64 // sum of the samples'
	Sequence uint32
	Samples  []media.Sample

	HeaderAt, HeaderLen   int64 // extents in the file
	MoofAt, MoofLen       int64
	PayloadAt, PayloadLen int64 // of the mdat, without its header
}

// End is the offset behind the fragment.
func (f *FragmentInfo) End() int64 { return f.PayloadAt + f.PayloadLen }
