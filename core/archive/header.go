package archive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"media-server/core/media"
)

// Sources of a file.
const (
	SourceLive   = 1
	SourceCamera = 2
	SourcePeer   = 3
	SourceImport = 4
)

const (
	headerFixed   = 152
	headerGoesOn  = 1                // flag: goes on from an earlier file of the run
	knownFeatures = featureEncrypted // features of FORMAT.md that this version can read

	recUID      = 1
	recRules    = 2
	recProgram  = 3
	recOpened   = 4
	recTracks   = 5
	recCritical = 0x8000
)

// FileHeader is the box behind moov: what a file says about itself.
type FileHeader struct {
	GoesOn        bool
	Source        uint8
	Features      uint32 // must be understood to read media
	Optional      uint32
	Node          [16]byte
	Run           media.RunID
	Zero          media.Wall
	ID            FileID
	Epoch         uint64
	Segment       uint64 // number of the first one
	Discontinuity uint64
	Previous      FileID
	PreviousHash  [32]byte // SHA-256 of the previous file's index box
	UID           string
	Rules         Rules
	Program       string
	Opened        media.Wall
	Tracks        []media.Track
	Encryption    *Encryption  // nil: the payload is clear
	Groomed       *GroomedFrom // nil: the file is as it was recorded
	Unreadable    bool         // a feature or record that must be understood is not: list, never read
}

// GroomedFrom names the file that a groomed one took the place of.
type GroomedFrom struct {
	File  FileID
	Index [32]byte // SHA-256 of its index box
	Proof [32]byte // SHA-256 of the box msgrom; zeros = the original was not signed
}

// AppendFileHeader appends the box.
func AppendFileHeader(b []byte, h *FileHeader) []byte {
	var flags uint8
	if h.GoesOn {
		flags = headerGoesOn
	}
	b, at := openBox(b, boxFile, flags, uint16(h.Source)<<8)
	be := binary.BigEndian
	b = be.AppendUint32(b, h.Features)
	b = be.AppendUint32(b, h.Optional)
	b = append(b, h.Node[:]...)
	b = append(b, h.Run[:]...)
	for _, v := range []uint64{uint64(h.Zero), uint64(h.ID), h.Epoch, h.Segment, h.Discontinuity, uint64(h.Previous)} {
		b = be.AppendUint64(b, v)
	}
	b = append(b, h.PreviousHash[:]...)
	b = appendRecord(b, recUID, []byte(h.UID))
	b = appendRecord(b, recRules, []byte(h.Rules.text()))
	b = appendRecord(b, recProgram, []byte(h.Program))
	b = appendRecord(b, recOpened, be.AppendUint64(nil, uint64(h.Opened)))
	b = appendRecord(b, recTracks, appendTracks(nil, h.Tracks))
	if h.Encryption != nil {
		b = appendRecord(b, recEncryption, h.Encryption.append(nil))
	}
	if g := h.Groomed; g != nil {
		p := append(be.AppendUint64(nil, uint64(g.File)), g.Index[:]...)
		b = appendRecord(b, recGroomed, append(p, g.Proof[:]...))
	}
	closeBox(b, at, true)
	return b
}

// ParseFileHeader reads the box that fills b.
func ParseFileHeader(b []byte) (*FileHeader, error) {
	if err := checkBox(b, boxFile); err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	if len(b) < headerFixed {
		return nil, fmt.Errorf("file header: %w", errShort)
	}
	if crc32.Checksum(b[boxCommon:], castagnoli) != binary.BigEndian.Uint32(b[28:]) {
		return nil, fmt.Errorf("file header: %w", errChecksum)
	}
	h := &FileHeader{GoesOn: b[25]&headerGoesOn != 0, Source: b[26]}
	c := cursor{b: b[boxCommon:]}
	h.Features, h.Optional = c.u32(), c.u32()
	copy(h.Node[:], c.take(16))
	copy(h.Run[:], c.take(16))
	h.Zero, h.ID, h.Epoch = media.Wall(c.u64()), FileID(c.u64()), c.u64()
	h.Segment, h.Discontinuity, h.Previous = c.u64(), c.u64(), FileID(c.u64())
	copy(h.PreviousHash[:], c.take(32))
	h.Unreadable = h.Features&^knownFeatures != 0
	var inner error
	err := records(c.b, func(tag uint16, p []byte) {
		switch tag {
		case recUID:
			h.UID = string(p)
		case recRules:
			h.Rules = parseRules(string(p))
		case recProgram:
			h.Program = string(p)
		case recOpened:
			if len(p) == 8 {
				h.Opened = media.Wall(binary.BigEndian.Uint64(p))
			}
		case recTracks:
			h.Tracks, inner = parseTracks(p)
		case recEncryption:
			h.Encryption = parseEncryption(p)
		case recGroomed:
			if len(p) >= 72 {
				h.Groomed = &GroomedFrom{File: FileID(binary.BigEndian.Uint64(p)), Index: [32]byte(p[8:40]), Proof: [32]byte(p[40:72])}
			}
		default:
			h.Unreadable = h.Unreadable || tag&recCritical != 0
		}
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	if (h.Features&featureEncrypted != 0) != (h.Encryption != nil) {
		h.Unreadable = true // encrypted by a scheme of a later version
	}
	return h, nil
}

// text writes the rules as ini lines, durations in whole seconds.
func (r Rules) text() string {
	var b strings.Builder
	dur := func(key string, d time.Duration) {
		if d != 0 {
			fmt.Fprintf(&b, "%s = %ds\n", key, int64(d/time.Second))
		}
	}
	dur("dvr-duration", r.Duration)
	dur("dvr-keep", r.Keep)
	dur("dvr-chunk", r.Chunk)
	if r.Capacity != 0 {
		fmt.Fprintf(&b, "dvr-capacity = %d\n", r.Capacity)
	}
	if r.Pool != "" {
		fmt.Fprintf(&b, "dvr-pool = %s\n", r.Pool)
	}
	return b.String()
}

// parseRules reads what text wrote; lines it does not know are skipped.
func parseRules(s string) (r Rules) {
	for line := range strings.Lines(s) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		seconds, _ := strconv.ParseInt(strings.TrimSuffix(value, "s"), 10, 33)
		d := time.Duration(seconds) * time.Second
		switch key {
		case "dvr-duration":
			r.Duration = d
		case "dvr-keep":
			r.Keep = d
		case "dvr-chunk":
			r.Chunk = d
		case "dvr-capacity":
			r.Capacity, _ = strconv.ParseInt(value, 10, 64)
		case "dvr-pool":
			r.Pool = value
		}
	}
	return r
}

func appendTracks(b []byte, tracks []media.Track) []byte {
	blob := func(p []byte) {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	b = binary.AppendUvarint(b, uint64(len(tracks)))
	for i := range tracks {
		t := &tracks[i]
		b = binary.AppendUvarint(b, uint64(t.ID))
		blob([]byte(t.Codec))
		b = binary.AppendUvarint(b, uint64(t.Timescale))
		blob(t.VPS)
		blob(t.SPS)
		blob(t.PPS)
		blob(t.Config)
		for _, v := range [...]int{t.SampleRate, t.Channels, t.Width, t.Height} {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	return b
}

func parseTracks(b []byte) ([]media.Track, error) {
	c := cursor{b: b}
	n := c.count()
	tracks := make([]media.Track, 0, min(n, 16))
	blob := func() []byte {
		if p := c.bytes(); len(p) > 0 {
			return append([]byte(nil), p...)
		}
		return nil
	}
	num := func() int {
		v := c.uvarint()
		if v > 1<<31-1 {
			c.err = errShort
		}
		return int(v)
	}
	for range n {
		var t media.Track
		t.ID, t.Codec, t.Timescale = num(), media.Codec(blob()), uint32(num())
		t.VPS, t.SPS, t.PPS, t.Config = blob(), blob(), blob(), blob()
		t.SampleRate, t.Channels, t.Width, t.Height = num(), num(), num(), num()
		if c.err != nil {
			return nil, fmt.Errorf("tracks: %w", c.err)
		}
		if t.ID < 1 || t.Timescale == 0 {
			return nil, fmt.Errorf("tracks: track %d with timescale %d", t.ID, t.Timescale)
		}
		// An init segment copies profile and level out of the first bytes.
		if least := map[media.Codec]int{media.H264: 4, media.H265: 15}[t.Codec]; len(t.SPS) < least {
			return nil, fmt.Errorf("tracks: track %d has parameter sets of %d bytes", t.ID, len(t.SPS))
		}
		tracks = append(tracks, t)
	}
	return tracks, nil
}
