package space

import (
	"os"
	"path/filepath"
	"testing"
)

// TestForeignHands: what another program does to a growing file fails at the
// next write or sync, before anything is called durable that nobody can read.
func TestForeignHands(t *testing.T) {
	for name, c := range map[string]struct {
		hand func(path string) error
		want Reason
		size int64
	}{
		"deleted":     {os.Remove, NotFound, -1},
		"renamed":     {func(p string) error { return os.Rename(p, p+"-mine") }, NotFound, -1},
		"replaced":    {func(p string) error { return os.Rename(other(p), p) }, NotFound, -1},
		"cut":         {func(p string) error { return os.Truncate(p, 3) }, BadOffset, 3},
		"emptied":     {func(p string) error { return os.Truncate(p, 0) }, BadOffset, 0},
		"made longer": {func(p string) error { return os.Truncate(p, 100) }, 0, 0},
	} {
		for _, by := range []string{"write", "seal"} {
			t.Run(name+" "+by, func(t *testing.T) {
				dir := t.TempDir()
				r := start(t, dir, 1, nil, nil)
				s := r.begin()
				s.Append(Data{Sequence: 1, Name: "open/a", Create: true, Payload: []byte("01234")})
				until(t, s, synced(1))
				if err := c.hand(filepath.Join(dir, "open/a")); err != nil {
					t.Fatal(err)
				}
				if by == "seal" {
					err := r.Seal(1, "open/a", "x/a", 5)
					if ReasonOf(err) != c.want {
						t.Fatalf("sealed: %v", err)
					}
					if _, err := os.Stat(filepath.Join(dir, "x/a")); (err == nil) != (c.want == 0) {
						t.Fatal(err)
					}
					return
				}
				s.Append(Data{Sequence: 2, Name: "open/a", Offset: 5, Payload: []byte("56789")})
				got := until(t, s, synced(2))
				if c.want == 0 {
					if len(got.Failures) > 0 {
						t.Fatalf("%+v", got.Failures)
					}
					return
				}
				if len(got.Failures) != 1 || got.Failures[0].Reason != c.want || got.Failures[0].Size != c.size || got.Failures[0].Name != "open/a" {
					t.Fatalf("%+v", got.Failures)
				}
				// Another file goes on.
				s.Append(Data{Sequence: 3, Name: "open/b", Create: true, Payload: []byte("x")})
				if got := until(t, s, synced(3)); len(got.Failures) > 0 {
					t.Errorf("%+v", got.Failures)
				}
			})
		}
	}
}

// other is a second file with the same content.
func other(path string) string {
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+"-other", b, 0o600)
	}
	if err != nil {
		return ""
	}
	return path + "-other"
}
