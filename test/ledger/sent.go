package ledger

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Unit is one line of a sent-ledger.
type Unit struct {
	Number uint64
	Time   int64 // of capture, Unix nanoseconds
	Key    bool
	Bytes  int
	SHA1   string // of the payload, where that alone names it
}

// ID names a track of a camera.
type ID struct {
	Camera string
	Track  byte // v, a, d
}

func (i ID) String() string { return i.Camera + ":" + string(i.Track) }

// Sent is what cameras sent, by number.
type Sent map[ID][]Unit

// ReadSent reads sent-ledgers. A last line cut short by a kill is passed over.
func ReadSent(paths ...string) (Sent, error) {
	s := Sent{}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return nil, err
		}
		err = s.read(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	s.sort()
	return s, nil
}

func (s Sent) sort() {
	for _, u := range s {
		slices.SortFunc(u, func(a, b Unit) int {
			if a.Number < b.Number {
				return -1
			}
			return 1
		})
	}
}

func (s Sent) read(r io.Reader) error {
	sc := bufio.NewScanner(r)
	for n := 1; sc.Scan(); n++ {
		f := strings.Split(sc.Text(), ",")
		if len(f) != 7 || len(f[1]) != 1 {
			continue // half a line; what it meant was not delivered whole either
		}
		u := Unit{Key: f[4] == "1", SHA1: f[6]}
		var err [3]error
		u.Number, err[0] = strconv.ParseUint(f[2], 10, 64)
		u.Time, err[1] = strconv.ParseInt(f[3], 10, 64)
		u.Bytes, err[2] = strconv.Atoi(f[5])
		for _, e := range err {
			if e != nil {
				return fmt.Errorf("line %d: %w", n, e)
			}
		}
		id := ID{f[0], f[1][0]}
		s[id] = append(s[id], u)
	}
	return sc.Err()
}

// Gap is a stretch that the server says it does not have.
type Gap struct {
	From, To int64 // Unix nanoseconds
	Why      string
}

// ReadGaps takes the gaps out of an answer of ranges.json.
func ReadGaps(r io.Reader) ([]Gap, error) {
	var doc struct {
		Gaps []struct {
			From, To float64
			Why      string
		}
	}
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		return nil, fmt.Errorf("read ranges.json: %w", err)
	}
	var gaps []Gap
	for _, g := range doc.Gaps {
		gaps = append(gaps, Gap{ms(g.From), ms(g.To), g.Why})
	}
	return gaps, nil
}

func ms(f float64) int64 { return int64(f * float64(time.Millisecond)) }
