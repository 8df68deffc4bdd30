package archive

import (
	"media-server/core/archive/retain"
	"media-server/core/media"
)

// groomPlan is what grooming would do now, by stream.
type groomPlan map[string]groomSums

type groomSums struct {
	files       int
	bytes, gain int64
}

// groomPlan plans the grooming of all pools, with the rules that w wishes; del
// is what the other rules delete before.
func (a *Archive) groomPlan(now media.Wall, w wish, del []retain.Deletion) (groomPlan, error) {
	out := groomPlan{}
	for _, p := range a.allPools() {
		p = w.poolOf(p)
		facts, err := a.groomFacts(&p, now, p.GroomAfter, 0)
		if err != nil {
			return nil, err
		}
		facts.Busy = nil // readers come and go
		for _, g := range retain.Groom(now, facts.Groomable, del) {
			s := out[g.Stream]
			s.files, s.bytes, s.gain = s.files+1, s.bytes+g.Size, s.gain+g.Gain
			out[g.Stream] = s
		}
	}
	return out, nil
}

func (p groomPlan) apply(s *StreamPreview) {
	x := p[s.UID]
	s.Grooms, s.GroomBytes, s.GroomGain = x.files, x.bytes, x.gain
}
