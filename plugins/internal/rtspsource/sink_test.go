package rtspsource

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

func TestMain(m *testing.M) {
	if os.Getenv(generatorEnv) != "" {
		generate()
	}
	goleak.VerifyTestMain(m)
}

// memory is a Sink that keeps everything and can be waited for.
type memory struct {
	mu     sync.Mutex
	tracks []media.Track
	left   []sdk.LeftOut
	device string
	units  []media.AccessUnit
	stats  sdk.Stats
	live   bool
	enough func(*memory) bool
	done   chan struct{}
	once   sync.Once
}

func newMemory(enough func(*memory) bool) *memory {
	return &memory{enough: enough, done: make(chan struct{})}
}

func (m *memory) Open(tracks []media.Track, device string, left ...sdk.LeftOut) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tracks != nil {
		return errors.New("opened twice")
	}
	m.tracks, m.device, m.left = tracks, device, left
	return nil
}

func (m *memory) Write(u media.AccessUnit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tracks == nil {
		return errors.New("a unit before Open")
	}
	m.units = append(m.units, u)
	if m.enough != nil && m.enough(m) {
		m.once.Do(func() { close(m.done) })
	}
	return nil
}

func (m *memory) Stats() *sdk.Stats { return &m.stats }
func (m *memory) AtOnce() bool      { return m.live }

func (m *memory) of(codec media.Codec) (track media.Track, units []media.AccessUnit) {
	for _, t := range m.tracks {
		if t.Codec == codec {
			track = t
		}
	}
	for _, u := range m.units {
		if u.Track == track.ID && track.ID != 0 {
			units = append(units, u)
		}
	}
	return track, units
}

// capture runs Capture until enough has come or limit is over.
func capture(t *testing.T, cfg Config, enough func(*memory) bool, limit time.Duration) (*memory, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	m := newMemory(enough)
	go func() {
		select {
		case <-m.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := Capture(ctx, cfg, m)
	select {
	case <-m.done:
		err = nil
	default:
	}
	return m, err
}

// cause wants err to be a failure of this cause with a message and no secret.
func cause(t *testing.T, err error, want pb.Cause) *sdk.Failure {
	t.Helper()
	var f *sdk.Failure
	if !errors.As(err, &f) {
		t.Fatalf("error %v is no failure, want %v", err, want)
	}
	if f.Cause != want {
		t.Errorf("cause %v (%s), want %v", f.Cause, f.What, want)
	}
	if f.What == "" {
		t.Error("no message")
	}
	return f
}
