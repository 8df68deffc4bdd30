package retain

import (
	"fmt"
	"testing"
	"time"

	"media-server/core/media"
)

func TestGroom(t *testing.T) {
	now := media.Wall(100 * day)
	at := func(id uint64, ageFrom, ageTo time.Duration) File {
		return File{ID: id, Stream: "gate", Space: "s", Span: media.Span{From: now.Add(-ageFrom), To: now.Add(-ageTo)}, Size: 1000}
	}
	locked := func(f File) File { f.Locked = true; return f }
	old, young := at(1, 31*day, 30*day), at(2, 30*day, 29*day)
	for _, c := range []struct {
		name string
		g    Groomable
		del  []Deletion
		want string
	}{
		{"never", Groomable{Files: []File{old}}, nil, "[]"},
		{"when all of it is old enough", Groomable{After: 30 * day, Files: []File{young, old}}, nil, "[1:750]"},
		{"oldest first", Groomable{After: day, Files: []File{young, old}}, nil, "[1:750 2:750]"},
		{"locked files stay whole", Groomable{After: day, Files: []File{locked(old), young}}, nil, "[2:750]"},
		{"what is read stays whole", Groomable{After: day, Files: []File{old, young}, Busy: map[uint64]bool{2: true}}, nil, "[1:750]"},
		{"what is deleted is not groomed before", Groomable{After: day, Files: []File{old, young}}, []Deletion{{File: old}}, "[2:750]"},
		{"of the future", Groomable{After: day, Files: []File{at(3, -2*day, -3*day)}}, nil, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.g.Stays = map[string]float64{"gate": 0.25}
			got := []string{}
			for _, x := range Groom(now, c.g, c.del) {
				got = append(got, fmt.Sprintf("%d:%d", x.ID, x.Gain))
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("%v, want %s", got, c.want)
			}
		})
	}
	g := Groom(now, Groomable{After: day, Files: []File{old}}, nil)
	if len(g) != 1 || g[0].Gain != 0 {
		t.Errorf("nothing was measured, yet %+v is promised", g)
	}
}
