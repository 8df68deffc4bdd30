package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"media-server/core/flac"
)

// alaw gives each packet of a FLAC track back as the A-law that it was made of:
// what leaves as FLAC was stored as G.711, and must come back to the bit.
func alaw(r io.ReaderAt, packets []packet, index int, rate int64) (map[int64][]byte, error) {
	exe, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, ErrNoFFprobe
	}
	stream := append([]byte("fLaC\x80\x00\x00\x22"), flac.StreamInfo(int(rate), 1)...)
	length := map[int64]int{}
	for _, k := range packets {
		if k.stream != index {
			continue
		}
		b := make([]byte, k.size)
		if _, err := r.ReadAt(b, k.pos); err != nil {
			return nil, fmt.Errorf("read packet at %d: %w", k.pos, err)
		}
		if length[k.pos], err = blockSize(b); err != nil {
			return nil, fmt.Errorf("packet at %d: %w", k.pos, err)
		}
		stream = append(stream, b...)
	}
	cmd := exec.Command(exe, "-v", "error", "-xerror", "-f", "flac", "-i", "-", "-f", "alaw", "-")
	cmd.Stdin = bytes.NewReader(stream)
	var said bytes.Buffer
	cmd.Stderr = &said
	pcm, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		return nil, fmt.Errorf("ffmpeg of a track of FLAC: %w: %s", err, said.String())
	}
	out := map[int64][]byte{}
	for _, k := range packets {
		if k.stream != index {
			continue
		}
		n := length[k.pos]
		if n > len(pcm) {
			return nil, fmt.Errorf("a track of FLAC decodes to less than its frames say")
		}
		out[k.pos], pcm = pcm[:n], pcm[n:]
	}
	if len(pcm) > 0 {
		return nil, fmt.Errorf("a track of FLAC decodes to %d samples more than its frames say", len(pcm))
	}
	return out, nil
}

// blockSize reads how many samples a frame has (RFC 9639 9.1).
func blockSize(b []byte) (int, error) {
	if len(b) < 16-4 || b[0] != 0xff || b[1] != 0xf9 {
		return 0, errors.New("no frame of FLAC")
	}
	at := 5
	for m := b[4]; m&0xc0 == 0xc0 && at < len(b)-2; m <<= 1 {
		at++
	}
	switch b[2] >> 4 {
	case 6:
		return int(b[at]) + 1, nil
	case 7:
		return int(b[at])<<8 + int(b[at+1]) + 1, nil
	}
	return 0, fmt.Errorf("a frame of block size code %d", b[2]>>4)
}
