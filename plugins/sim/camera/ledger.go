package camera

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"media-server/core/media"
)

// ledger is a file of what was sent, one line a unit:
//
//	camera,track,number,time_ns,key,bytes,sha1
//
// sha1 stays empty, since every payload names itself. Several cameras may
// share a file.
type ledger struct {
	file *os.File
	buf  []byte
	last map[string]uint64 // "camera,track" → number, as found at opening
	err  error             // of writing; the file is given up then
}

func openLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &ledger{file: f, last: map[string]uint64{}}
	if err := l.scan(); err != nil {
		f.Close()
		return nil, fmt.Errorf("read ledger %s: %w", path, err)
	}
	return l, nil
}

// scan finds the last number of each track, so that a new process goes on
// behind them, and ends a line that a kill left half written.
func (l *ledger) scan() error {
	r := bufio.NewReaderSize(l.file, 1<<16)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if line != "" {
				l.buf = append(l.buf, '\n')
			}
			return nil
		}
		f := strings.SplitN(line, ",", 4)
		if len(f) != 4 {
			continue
		}
		if n, err := strconv.ParseUint(f[2], 10, 64); err == nil {
			k := f[0] + "," + f[1]
			l.last[k] = max(l.last[k], n)
		}
	}
}

// next is the number with which a track goes on.
func (l *ledger) next(camera string, track byte) uint64 {
	if n, ok := l.last[camera+","+string(track)]; ok {
		return n + 1
	}
	return 0
}

func (l *ledger) add(camera string, track byte, number uint64, seen media.Wall, key bool, size int) {
	b := append(l.buf, camera...)
	b = append(b, ',', track, ',')
	b = strconv.AppendUint(b, number, 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(seen), 10)
	if key {
		b = append(b, ",1,"...)
	} else {
		b = append(b, ",0,"...)
	}
	b = strconv.AppendInt(b, int64(size), 10)
	l.buf = append(b, ",\n"...)
}

func (l *ledger) flush() {
	if len(l.buf) == 0 || l.err != nil {
		return
	}
	_, l.err = l.file.Write(l.buf)
	l.buf = l.buf[:0]
}
