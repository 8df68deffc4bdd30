package space

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Settings are the keys of [space.NAME] that this storage understands.
type Settings struct {
	// Path is the folder. Absolute. Required.
	Path string
	// SizeLimit is the most bytes this space may use; 0 = all there are. A
	// share is of the file system's size.
	SizeLimit Size
	// Reserve is what must stay free on the file system.
	Reserve Size
	// Fsync is the time between syncs; 0 = off.
	Fsync time.Duration
	// Descriptors says whether readers get descriptors: "auto" on file
	// systems known to be local, "on" everywhere (a stuck server then hangs
	// the reader too), "off" nowhere.
	Descriptors string
}

// Size is a number of bytes or a share of something.
type Size struct {
	Bytes   int64
	Percent float64
}

// Of gives the size in bytes where the whole is total.
func (s Size) Of(total int64) int64 {
	if s.Percent > 0 {
		return int64(float64(total) / 100 * s.Percent)
	}
	return s.Bytes
}

// DefaultFsync is the interval where none is set.
const DefaultFsync = 500 * time.Millisecond

// SettingError says which key is wrong.
type SettingError struct{ Key, What, Hint string }

func (e *SettingError) Error() string { return e.Key + ": " + e.What }

// ParseSettings reads the keys; all that is wrong is returned, not only the
// first. Unknown keys are refused.
func ParseSettings(m map[string]string) (Settings, []*SettingError) {
	s := Settings{Fsync: DefaultFsync, Descriptors: "auto"}
	var bad []*SettingError
	fail := func(key, hint string, err error) {
		if err != nil {
			bad = append(bad, &SettingError{key, err.Error(), hint})
		}
	}
	var err error
	for k, v := range m {
		v = strings.TrimSpace(v)
		switch k {
		case "path":
			s.Path = v
		case "size-limit":
			s.SizeLimit, err = ParseSize(v)
			fail(k, "like 500G or 80%", err)
		case "reserve":
			s.Reserve, err = ParseSize(v)
			fail(k, "like 10G or 5%", err)
		case "fsync":
			s.Fsync, err = parseFsync(v)
			fail(k, "like 500ms, 2s or off", err)
		case "descriptors":
			switch v {
			case "auto", "on", "off":
				s.Descriptors = v
			default:
				fail(k, "auto, on or off", fmt.Errorf("%q is not one of auto, on, off", v))
			}
		default:
			fail(k, "known: path, size-limit, reserve, fsync, descriptors", fmt.Errorf("unknown key"))
		}
	}
	if !strings.HasPrefix(s.Path, "/") {
		bad = append(bad, &SettingError{"path", "an absolute path is required", "like /srv/video"})
	}
	return s, bad
}

func parseFsync(v string) (time.Duration, error) {
	switch strings.ToLower(v) {
	case "":
		return DefaultFsync, nil
	case "off", "no", "false":
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return DefaultFsync, fmt.Errorf("%q is not a duration", v)
	}
	if d < 10*time.Millisecond || d > time.Hour {
		return DefaultFsync, fmt.Errorf("%q is not between 10ms and 1h", v)
	}
	return d, nil
}

// ParseSize reads 512M, 10G, 1.5T, plain bytes, or a share like 80%.
func ParseSize(v string) (Size, error) {
	bad := fmt.Errorf("%q is not a size", v)
	if v == "" || v == "0" {
		return Size{}, nil
	}
	if n, ok := strings.CutSuffix(v, "%"); ok {
		p, err := strconv.ParseFloat(n, 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return Size{}, bad
		}
		return Size{Percent: p}, nil
	}
	num, unit := strings.ToUpper(v), int64(1)
	num = strings.TrimSuffix(num, "B")
	for i, suffix := range []string{"K", "M", "G", "T", "P"} {
		if n, ok := strings.CutSuffix(num, suffix); ok {
			num, unit = n, 1<<(10*(i+1))
			break
		}
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || !(f >= 0) || f*float64(unit) > 1<<60 {
		return Size{}, bad
	}
	return Size{Bytes: int64(f * float64(unit))}, nil
}
