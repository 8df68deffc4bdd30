package inspect

import (
	"fmt"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// Stream is what is known of a stream beside its footage.
type Stream struct {
	Bounds media.Span // of its footage; empty = it never had any
	Kept   time.Duration
	By     string     // rule that lets footage go after Kept; "" = none
	Now    media.Wall //
	Live   bool       // it is being recorded
	Added  media.Wall // when it was configured first; 0 = not known
}

// Answer is why there is, or is not, footage at an instant.
type Answer struct {
	Recorded bool
	Span     media.Span // the range or the gap
	State    string     // of a gap
	Why      archive.GapCause
	Text     string // for people
	Hint     string
	Before   media.Wall // end of the nearest footage before; 0 = none
	After    media.Wall // beginning of the nearest behind
}

// Causes that no gap of the archive has: what lies outside a stream's life.
const (
	WhyNever   archive.GapCause = "never"            // before the first footage
	WhyExpired                  = archive.GapExpired // a rule took it
	WhyFuture  archive.GapCause = "future"
	WhyNotYet  archive.GapCause = "not_yet" // a moment ago: on its way
)

// Cut tells whether the window w that the answer was made from cuts what it
// tells of a stream with footage in bounds: the range or the gap goes on
// outside, or the nearest footage lies there.
func (a *Answer) Cut(w, bounds media.Span) bool {
	left, right := w.From > bounds.From, w.To < bounds.To
	if !a.Span.Empty() && (left && a.Span.From <= w.From || right && a.Span.To >= w.To) {
		return true
	}
	return !a.Recorded && a.Why != WhyFuture && (left && a.Before == 0 || right && a.After == 0)
}

// Why tells about the instant at. f covers at least a day around it.
func Why(at media.Wall, f Footage, s Stream, zone *time.Location) Answer {
	a := Answer{}
	// Gaps first: one begins where the first of several tracks ended, which is
	// inside the range of the others.
	k := slices.IndexFunc(f.Gaps, func(g archive.Gap) bool { return g.Span.Contains(at) })
	from, to := at, at+1
	if k >= 0 {
		from, to = f.Gaps[k].Span.From, f.Gaps[k].Span.To
	}
	for _, r := range f.Ranges {
		switch {
		case k < 0 && r.Span.Contains(at):
			a.Recorded, a.Span = true, r.Span
			a.Text = fmt.Sprintf("It is recorded, from %s to %s.", clock(r.Span.From, zone), clock(r.Span.To, zone))
			if r.Groomed {
				a.Text += " It is old: its key frames are left, without sound (groom-after)."
			}
			return a
		case r.Span.From < from:
			a.Before = min(r.Span.To, from)
		case a.After == 0 && r.Span.To > to:
			a.After = max(r.Span.From, to)
		}
	}
	if k >= 0 {
		g := f.Gaps[k]
		a.Span, a.State, a.Why = g.Span, g.State, g.Why
		what, hint := sentence(g.Why)
		a.Text = fmt.Sprintf("Nothing from %s to %s (%s): %s.", clock(g.Span.From, zone), clock(g.Span.To, zone), g.Span.Duration().Round(time.Second), what)
		a.Hint = hint
		return a
	}
	switch {
	case at > s.Now:
		a.Why, a.Text = WhyFuture, "That is in the future."
	case s.Added != 0 && at < s.Added && (s.Bounds.Empty() || at < s.Bounds.From):
		a.Why, a.Text = WhyNever, fmt.Sprintf("The stream was added at %s.", clock(s.Added, zone))
		if !s.Bounds.Empty() {
			a.After = s.Bounds.From
		}
	case s.Bounds.Empty():
		a.Why, a.Text = WhyNever, "The stream has never been recorded."
		a.Hint = "see GET streams/{uid}: its state and reason say why"
	case at < s.Bounds.From && s.By != "" && s.Now.Sub(at) > s.Kept-24*time.Hour:
		a.Why, a.After = WhyExpired, s.Bounds.From
		a.Text = fmt.Sprintf("If there was any, a rule took it: %s keeps footage for %s, the oldest is of %s.", s.By, days(s.Kept), clock(s.Bounds.From, zone))
		a.Hint = "lock what must be kept longer"
	case at < s.Bounds.From:
		a.Why, a.After = WhyNever, s.Bounds.From
		a.Text = fmt.Sprintf("The oldest footage is of %s; nothing earlier was recorded.", clock(s.Bounds.From, zone))
	case at >= s.Bounds.To && s.Live && s.Now.Sub(at) < 30*time.Second:
		a.Why, a.Before = WhyNotYet, s.Bounds.To
		a.Text = "It is on its way: the newest footage is a moment old."
	case at >= s.Bounds.To:
		a.Why, a.Before = archive.GapUnknown, s.Bounds.To
		a.Text = fmt.Sprintf("The newest footage ends at %s; nothing has been recorded since.", clock(s.Bounds.To, zone))
		a.Hint = "see GET streams/{uid}: its state and reason say why"
	default:
		a.Why, a.Text = archive.GapUnknown, "It is missing, and nobody knows why."
		a.Hint = "the events around that time may tell"
	}
	return a
}

// sentence says what a cause means, and what can be done.
func sentence(c archive.GapCause) (what, hint string) {
	switch c {
	case archive.GapCameraLost:
		return "the camera could not be reached, or it closed the connection", "look at its power and network at that time"
	case archive.GapCameraSilent:
		return "the camera kept the connection and sent nothing", "look at the camera; a restart usually helps"
	case archive.GapDriver:
		return "the driver process ended and was started again", "its log in run-dir/plugins says why"
	case archive.GapServerDown:
		return "the server was not running, or could not take the footage in time", "the events of that time say whether it was stopped or killed"
	case archive.GapDiskFull:
		return "the disk was full and nothing on it might be deleted", "allow overwriting, end locks that are no longer needed, or add a space to the pool"
	case archive.GapDiskError:
		return "the disk did not take the footage", "the events of that time name the space and what it said"
	case archive.GapDeleted:
		return "somebody deleted the file outside the server", "the events of that time name it"
	case archive.GapKeyDestroyed:
		return "the key of this day's footage was destroyed, nobody can read it again", "media-server keys list tells by whom and when; a backup or an export of keys made before still holds it"
	case archive.GapExpired:
		return "a rule took it, and what is older is kept by a lock or by another pool", "lock what must be kept longer"
	case archive.GapDamaged:
		return "the file is damaged", "media-server verify says where"
	case archive.GapOffSchedule:
		return "the schedule says that nothing is recorded then, or no event asked for it", "see dvr-mode and dvr-schedule"
	case archive.GapClockSet:
		return "the server's clock was set, and never showed this time or showed another one meanwhile", "the events server.clock of that time say from when to when; see that the machine's clock is kept by NTP"
	case archive.GapDisabled:
		return "recording was switched off", "see dvr-enable and stream-enable"
	}
	return "the reason is not known", "the events around that time may tell"
}

func clock(w media.Wall, zone *time.Location) string {
	return w.Time().In(zone).Format("2006-01-02 15:04:05")
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}
