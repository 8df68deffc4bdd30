package archive

import "encoding/binary"

// walker is a cursor that moves a number along instead of a slice: ten
// thousand moves a file, each of which the collector would have a look at.
// The first failure sticks; after it everything reads as 0.
type walker struct {
	b   []byte
	at  int
	err error
}

func (w *walker) fail(err error) {
	if w.err == nil {
		w.err, w.at = err, len(w.b)
	}
}

func (w *walker) left() int { return len(w.b) - w.at }

func (w *walker) skip(n int) {
	if n > w.left() {
		w.fail(errShort)
		return
	}
	w.at += n
}

func (w *walker) u8() uint8 {
	if w.left() < 1 {
		w.fail(errShort)
		return 0
	}
	w.at++
	return w.b[w.at-1]
}

func (w *walker) u64() uint64 {
	if w.left() < 8 {
		w.fail(errShort)
		return 0
	}
	w.at += 8
	return binary.BigEndian.Uint64(w.b[w.at-8:])
}

func (w *walker) uvarint() uint64 {
	if w.at < len(w.b) && w.b[w.at] < 0x80 {
		w.at++
		return uint64(w.b[w.at-1])
	}
	return w.long()
}

// long reads a varint of several bytes.
func (w *walker) long() uint64 {
	v, n := binary.Uvarint(w.b[w.at:])
	if n <= 0 {
		w.fail(errShort)
		return 0
	}
	w.at += n
	return v
}

func (w *walker) varint() int64 {
	v := w.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// uvarints steps over n varints.
func (w *walker) uvarints(n int) {
	for range n {
		w.uvarint()
	}
}

// count reads a number of things of at least one byte each.
func (w *walker) count() int {
	v := w.uvarint()
	if v > uint64(w.left()) {
		w.fail(errShort)
		return 0
	}
	return int(v)
}

// length reads a length in bytes of something inside a file.
func (w *walker) length() int64 {
	v := w.uvarint()
	if v > 1<<40 {
		w.fail(errShort)
		return 0
	}
	return int64(v)
}

// sizes steps over n sizes, each below 2^32.
func (w *walker) sizes(n int) {
	b, at := w.b, w.at
	for range n {
		from := at
		for at < len(b) && b[at] >= 0x80 {
			at++
		}
		if at++; at > len(b) {
			w.fail(errShort)
			return
		}
		if at-from < 5 {
			continue
		}
		if v, k := binary.Uvarint(b[from:at]); k <= 0 || v > 1<<32-1 {
			w.fail(errShort)
			return
		}
	}
	w.at = at
}

// runs steps over pairs of run length and value, until n values are there.
func (w *walker) runs(n int, signed bool) {
	for i := 0; i < n && w.err == nil; {
		run := w.uvarint()
		var v int64
		if signed {
			v = w.varint()
		} else {
			v = int64(w.uvarint())
		}
		if run == 0 || run > uint64(n-i) || v > 1<<32-1 || v < -1<<31 {
			w.fail(errShort)
			return
		}
		i += int(run)
	}
}

// keys steps over the runs of samples that are keys, and of those that are not.
func (w *walker) keys(n int) {
	for i := 0; i < n && w.err == nil; {
		run := w.uvarint()
		if run > uint64(n-i) {
			w.fail(errShort)
			return
		}
		i += int(run)
	}
}
