package process

import (
	"os"
	"testing"
)

func TestStat(t *testing.T) {
	st, err := ParseStat([]byte("42 (a) b) (c)) S 7 42 41 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n"))
	if err != nil || st.Parent != 7 || st.Session != 41 || st.Start != 123456 || st.State != 'S' {
		t.Errorf("%+v %v", st, err)
	}
	self, err := ReadStat(os.Getpid())
	if err != nil || self.Parent != os.Getppid() || self.Start == 0 {
		t.Errorf("%+v %v", self, err)
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("42 (a) S 7 42 41 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n"))
	f.Add([]byte(")"))
	f.Fuzz(func(_ *testing.T, b []byte) { ParseStat(b) })
}
