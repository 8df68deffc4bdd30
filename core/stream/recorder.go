package stream

import (
	"media-server/core/archive"
	"media-server/core/media"
)

// Recorder is where a recorded stream's parts go; archive.Recorder is one.
// See there for what each method promises.
type Recorder interface {
	Resume() (archive.Resume, bool)
	Held() (media.RunPosition, bool)
	NextSegment() (segment, discontinuity uint64)
	Begin(run media.RunID, zero media.Wall, tracks []media.Track, why archive.GapCause) error
	Append(p *media.Part) error
	OnDurable(f func(media.RunPosition))
	End(cause archive.GapCause)
	Gap(s media.Span, why archive.GapCause)
	SetRules(rules archive.Rules)
	Close()
}

// gapCause says in the words of ranges.json why there is nothing after a run
// that ended with c.
func gapCause(c Cause) archive.GapCause {
	switch c {
	case CauseSilent:
		return archive.GapCameraSilent
	case CauseLost, CauseUnreachable, CauseRefused, CauseNotFound, CauseUnsupported, CauseProtocol, CauseSettings, CauseChanged:
		return archive.GapCameraLost
	case CauseStopped:
		return archive.GapDisabled
	case CauseDriver:
		return archive.GapDriver
	case CauseOverflow:
		return archive.GapServerDown
	}
	return archive.GapUnknown
}
