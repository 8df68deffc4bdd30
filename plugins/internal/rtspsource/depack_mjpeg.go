package rtspsource

import (
	"encoding/binary"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/jpeg"
)

// mjpegDepack is RFC 2435: the scan of a baseline JPEG in pieces; the headers
// are made again from a few parameters. A picture with a hole is dropped: its
// entropy-coded data cannot be entered in the middle.
type mjpegDepack struct {
	port
	width, height int // from SDP, for pictures beyond 2040 pixels

	head    []byte // JPEG headers of the picture under way
	buf     []byte // its scan
	tables  [256][]byte
	ts      uint32
	open    bool
	started bool // the current timestamp has been looked at
	failed  bool
}

func (d *mjpegDepack) push(p *packet, lost bool, at stamp) {
	if !d.started || p.ts != d.ts {
		if d.open {
			d.fail() // its end is missing
		}
		d.started, d.failed, d.ts = true, false, p.ts
	}
	if lost && d.open {
		d.fail()
	}
	if d.failed {
		return
	}
	if !d.add(p.payload) {
		d.fail()
		return
	}
	if !p.marker || !d.open {
		return
	}
	out := make([]byte, 0, len(d.head)+len(d.buf)+2)
	out = append(append(out, d.head...), d.buf...)
	if n := len(out); out[n-2] != 0xff || out[n-1] != jpeg.MarkerEndOfImage {
		out = append(out, 0xff, jpeg.MarkerEndOfImage)
	}
	d.open = false
	d.unit(piece{ts: p.ts, key: true, at: at, payload: out})
}

// fail gives the picture up and counts it once.
func (d *mjpegDepack) fail() {
	if !d.failed {
		d.discard()
	}
	d.open, d.failed = false, true
}

// add takes one packet's main header (RFC 2435 section 3.1) and data.
func (d *mjpegDepack) add(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	offset := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	typ, q := b[4], b[5]
	w, h := int(b[6])*8, int(b[7])*8
	b = b[8:]
	restart := 0
	if typ >= 64 && typ < 128 {
		if len(b) < 4 {
			return false
		}
		restart = int(binary.BigEndian.Uint16(b))
		b = b[4:]
		typ -= 64
	}
	if offset != 0 {
		if !d.open || offset != len(d.buf) || offset+len(b) > maxUnit {
			return false
		}
		d.buf = append(d.buf, b...)
		return true
	}
	if w == 0 || h == 0 {
		w, h = d.width, d.height
	}
	if typ > 1 || q == 0 || w == 0 || h == 0 {
		return false
	}
	quant := quantTables(q)
	if q >= 128 {
		if len(b) < 4 {
			return false
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if b[1] != 0 || n > len(b)-4 || n != 0 && n != 64 && n != 128 {
			return false
		}
		if n > 0 {
			quant = clone(b[4 : 4+n])
			d.tables[q] = quant
		} else if quant = d.tables[q]; quant == nil {
			return false
		}
		b = b[4+n:]
	} else if q > 99 {
		return false
	}
	d.head = jpegHead(d.head[:0], typ, w, h, quant, restart)
	d.buf = append(d.buf[:0], b...)
	d.open = true
	return true
}

func (d *mjpegDepack) flush() { d.open = false }

// quantTables scales the standard tables to factor q (RFC 2435 section 4.2).
func quantTables(q uint8) []byte {
	q = max(1, min(q, 99))
	scale := 200 - 2*int(q)
	if q < 50 {
		scale = 5000 / int(q)
	}
	out := make([]byte, 0, 128)
	for _, t := range [][]byte{lumQuant, chrQuant} {
		for _, v := range t {
			out = append(out, byte(max(1, min((int(v)*scale+50)/100, 255))))
		}
	}
	return out
}

// jpegHead writes everything before the scan (RFC 2435 appendix B).
func jpegHead(b []byte, typ uint8, w, h int, quant []byte, restart int) []byte {
	b = jpeg.StartOfImage{}.Marshal(b)
	var dqt jpeg.DefineQuantizationTable
	for i := 0; i*64 < len(quant); i++ {
		dqt.Tables = append(dqt.Tables, jpeg.QuantizationTable{ID: uint8(i), Data: quant[i*64 : i*64+64]})
	}
	b = dqt.Marshal(b)
	b = jpeg.StartOfFrame1{Type: typ, Width: w, Height: h, QuantizationTableCount: uint8(len(dqt.Tables))}.Marshal(b)
	for _, t := range []jpeg.DefineHuffmanTable{
		{Codes: lumDCCodes, Symbols: lumDCSymbols, TableNumber: 0, TableClass: 0},
		{Codes: lumACCodes, Symbols: lumACSymbols, TableNumber: 0, TableClass: 1},
		{Codes: chrDCCodes, Symbols: chrDCSymbols, TableNumber: 1, TableClass: 0},
		{Codes: chrACCodes, Symbols: chrACSymbols, TableNumber: 1, TableClass: 1},
	} {
		b = t.Marshal(b)
	}
	if restart > 0 {
		b = append(b, 0xff, 0xdd, 0, 4, byte(restart>>8), byte(restart))
	}
	return jpeg.StartOfScan{}.Marshal(b)
}
