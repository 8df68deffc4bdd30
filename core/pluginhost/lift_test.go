package pluginhost

import (
	"maps"
	"testing"
)

// TestLift: a backend whose limits are lifted is told of none, but for what
// deleting needs, and of its own again afterwards.
func TestLift(t *testing.T) {
	for _, c := range []struct {
		name        string
		told, after map[string]string
	}{
		{"both", map[string]string{"path": "/a", "size-limit": "1G", "reserve": "60%"}, map[string]string{"path": "/a", "reserve": "67108864"}},
		{"no reserve", map[string]string{"path": "/a", "size-limit": "1G"}, map[string]string{"path": "/a", "reserve": "67108864"}},
		{"neither", map[string]string{"path": "/a"}, map[string]string{"path": "/a"}},
	} {
		s := &spaceStorage{settings: maps.Clone(c.told)}
		s.Lift(true)
		if got := s.toldLocked(); !maps.Equal(got, c.after) {
			t.Errorf("%s: lifted %v, want %v", c.name, got, c.after)
		}
		s.SetSettings(c.told)
		if got := s.toldLocked(); !maps.Equal(got, c.after) {
			t.Errorf("%s: other settings end it: %v", c.name, got)
		}
		s.Lift(false)
		if got := s.toldLocked(); !maps.Equal(got, c.told) {
			t.Errorf("%s: afterwards %v, want %v", c.name, got, c.told)
		}
	}
}
