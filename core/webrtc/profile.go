package webrtc

import "fmt"

// profile is the first two bytes of profile-level-id: profile_idc and the
// constraint flags.
type profile struct{ idc, flags byte }

// Profiles of RFC 6184 table 5 that differ for what a decoder must do.
const (
	baseline            = "Baseline"
	constrainedBaseline = "Constrained Baseline"
	mainProfile         = "Main"
	extended            = "Extended"
	constrainedHigh     = "Constrained High"
	high                = "High"
)

func profileOf(sps []byte) (profile, bool) {
	if len(sps) < 4 {
		return profile{}, false
	}
	return profile{sps[1], sps[2]}, true
}

// name is the profile in the standard's words (H.264 A.2, RFC 6184 table 5).
func (p profile) name() string {
	set := func(n int) bool { return p.flags>>(7-n)&1 == 1 }
	switch p.idc {
	case 66:
		if set(1) {
			return constrainedBaseline
		}
		return baseline
	case 77:
		if set(0) {
			return constrainedBaseline
		}
		return mainProfile
	case 88:
		switch {
		case set(0) && set(1):
			return constrainedBaseline
		case set(1):
			return mainProfile
		}
		return extended
	case 100:
		if set(4) && set(5) {
			return constrainedHigh
		}
		return high
	}
	return fmt.Sprintf("profile %d", p.idc)
}

// includes names the profiles that a decoder of one decodes besides its own
// (H.264 A.2).
var includes = map[string][]string{
	baseline:        {constrainedBaseline},
	mainProfile:     {constrainedBaseline},
	extended:        {baseline, constrainedBaseline, mainProfile},
	constrainedHigh: {constrainedBaseline},
	high:            {constrainedHigh, mainProfile, constrainedBaseline},
}

// How well an offered profile suits a stream's.
const (
	fitNot = iota
	fitIncluded
	fitSame
)

// fit tells how well a decoder of p suits a stream. Levels are not compared:
// browsers offer 3.1 and decode whatever their decoder does.
func (p profile) fit(stream profile) int {
	have, want := p.name(), stream.name()
	if have == want {
		return fitSame
	}
	for _, n := range includes[have] {
		if n == want {
			return fitIncluded
		}
	}
	return fitNot
}
