package mux

import "encoding/binary"

// writeTables writes program association and program map (2.4.4).
func (w *tsWriter) writeTables() {
	for _, t := range []struct {
		pid     int
		section []byte
	}{{0, w.pat}, {pidTables, w.pmt}} {
		w.b = append(w.b, 0x47, 0x40|byte(t.pid>>8), byte(t.pid), 0x10|byte(w.tables&15), 0) // the section begins at once
		w.b = append(w.b, t.section...)
		for range tsPayload - 1 - len(t.section) {
			w.b = append(w.b, 0xff)
		}
	}
	w.tables++
}

// programs is the program association table: one program.
func programs() []byte {
	return section(0, 0, []byte{0, 1, 0xe0 | pidTables>>8, pidTables & 0xff})
}

// mostTSTracks is how many tracks the map has room for in one packet.
const mostTSTracks = 8

// program is the program map table. Its version comes from what it says, so that
// players notice another one.
func (w *tsWriter) program() []byte {
	clock := pidFirst + w.clock
	b := []byte{0xe0 | byte(clock>>8), byte(clock), 0xf0, 0}
	for i := range w.es {
		e, pid := &w.es[i], pidFirst+i
		b = append(b, e.streamType, 0xe0|byte(pid>>8), byte(pid), 0xf0, byte(len(e.descriptors)))
		b = append(b, e.descriptors...)
	}
	return section(2, byte(sectionCRC(b)), b)
}

// section wraps a table of one section, number 1 of its kind; five bits of version.
func section(id, version byte, table []byte) []byte {
	length := 5 + len(table) + 4
	b := []byte{id, 0xb0 | byte(length>>8), byte(length), 0, 1, 0xc1 | version&31<<1, 0, 0}
	b = append(b, table...)
	return binary.BigEndian.AppendUint32(b, sectionCRC(b))
}

// sectionCRC is annex A.
func sectionCRC(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x) << 24
		for range 8 {
			top := c >> 31
			c = c<<1 ^ top*0x04c11db7
		}
	}
	return c
}
