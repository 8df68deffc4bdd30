package export

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"

	"media-server/core/archive"
	"media-server/core/mp4"
)

// States of a source file.
const (
	stateSigned   = "signed"   // a chain with its signature
	stateUnsealed = "unsealed" // a chain without: it is still growing, or was closed without its key
	stateUnsigned = "unsigned" // the pool did not sign
)

const headLine = 57 // bytes of a head in one line, 76 characters

// file writes all of a proof that concerns one source file.
func (k *maker) file(t *mp4.Taken) error {
	if err := k.ctx.Err(); err != nil {
		return err
	}
	l, err := k.src.Layout(k.st.UID, t.File)
	if err != nil {
		return err
	}
	f, err := k.src.Pin(k.st.UID, t.File)
	if err != nil {
		return err
	}
	defer f.Release()
	if len(l.Fragments) == 0 {
		return fmt.Errorf("it has no fragments")
	}
	end := l.Fragments[len(l.Fragments)-1].End()
	h, head, err := archive.ReadHead(f, end)
	if err != nil {
		return err
	}
	state, sig := stateUnsigned, []byte(nil)
	if h.Signed() {
		state = stateUnsealed
		if l.Complete {
			if sig, err = archive.ReadSignature(f, end); err != nil {
				return err
			}
			if sig != nil {
				state = stateSigned
			}
		}
	}
	over := overExported
	if h.Features != 0 {
		over = overStored
	}
	fmt.Fprintf(&k.out, "file %s %d %d %s %s\n", h.ID, t.At, t.To-t.From, state, over)
	for b := head; len(b) > 0; b = b[min(len(b), headLine):] {
		fmt.Fprintf(&k.out, "h %s\n", b64(b[:min(len(b), headLine)]))
	}
	if sig != nil {
		fmt.Fprintf(&k.out, "s %s\n", b64(sig))
	}
	return k.fragments(t, l, f, state, over)
}

// fragments writes the exported fragments of a file, and of a chain the links
// that lead from its head to them and from them to its signature.
func (k *maker) fragments(t *mp4.Taken, l *archive.Layout, f io.ReaderAt, state, over string) error {
	seen := map[int]int{} // samples of each track so far
	for i := range l.Fragments {
		fr := &l.Fragments[i]
		first := seen[fr.Track]
		seen[fr.Track] += len(fr.Samples)
		in := fr.Offset >= t.From && fr.End() <= t.To
		switch {
		case !in && (state == stateUnsigned || state == stateUnsealed && fr.Offset >= t.To):
			continue // nothing it would lead to
		case k.ctx.Err() != nil:
			return k.ctx.Err()
		}
		x, err := k.read(f, fr)
		if err != nil {
			return err
		}
		if in {
			if want := t.At + fr.Offset - t.From; want != k.at {
				return fmt.Errorf("fragment at %d does not join the one before", fr.Offset)
			}
			if err := k.fragment(x, state, over, func(n int) bool { return t.Has(fr.Track, first+n) }); err != nil {
				return err
			}
		} else {
			head := sha256.Sum256(x.head)
			root := archive.RootOf(archive.LeavesOf(&x.FragmentInfo, x.stored))
			fmt.Fprintf(&k.out, "n %s %s\n", b64(head[:]), b64(root[:]))
		}
		if k.out.Len() >= flushAt && !k.flush() {
			return errStopped
		}
	}
	if k.at != t.At+t.To-t.From {
		return fmt.Errorf("its fragments do not fill what was exported of it")
	}
	return nil
}

// fragment writes an exported fragment and its units.
func (k *maker) fragment(x *fragment, state, over string, shown func(n int) bool) error {
	payload := x.payload
	if x.Header.Encrypted != (over == overStored) {
		return fmt.Errorf("its fragments lie in storage in several forms")
	}
	head := sha256.Sum256(x.head)
	fmt.Fprintf(&k.out, "f %d %d %d %d %s\n", x.Header.Track, k.at, len(x.head), len(payload), b64(head[:]))
	for _, b := range [][]byte{x.head, x.mdat, payload} {
		k.export.Write(b)
		k.at += int64(len(b))
	}
	var leaves [][32]byte
	if state != stateUnsigned {
		leaves = archive.LeavesOf(&x.FragmentInfo, x.stored)
	}
	for i, u := range archive.UnitsOf(&x.FragmentInfo) {
		line := k.out.AvailableBuffer()
		if shown(i) {
			line = append(line, "u "...)
			k.frames++
		} else {
			line = append(line, "x "...)
		}
		line = append(strconv.AppendUint(line, u.Seq, 10), ' ')
		line = append(strconv.AppendInt(line, u.PTS, 10), ' ')
		line = append(strconv.AppendUint(line, uint64(u.Size), 10), ' ')
		sum := sha256.Sum256(payload[:u.Size])
		payload = payload[u.Size:]
		line = append(base64.RawStdEncoding.AppendEncode(line, sum[:]), ' ')
		if leaves != nil {
			line = base64.RawStdEncoding.AppendEncode(line, leaves[i][:])
		} else {
			line = append(line, '-')
		}
		k.out.Write(append(line, '\n'))
	}
	return nil
}
