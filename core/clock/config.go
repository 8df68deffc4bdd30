package clock

import (
	"time"

	"media-server/core/media"
)

// Config bounds what a Map believes. Zero fields mean Default.
type Config struct {
	NotBefore media.Wall // end of what is stored: a new run does not start earlier (Map.Start)

	Settle        time.Duration // how long Settled waits, counted from the first unit's arrival
	StepTolerance time.Duration // server clock: a larger change of Received − Mono is a step
	JumpTolerance time.Duration // camera PTS ahead of its arrivals by more than this at once
	BackTolerance time.Duration // camera PTS back by more than this (reordering is far less)
	StallTime     time.Duration // every unit late by a second for this long, and no report explains it: the PTS stood still
	MaxHold       time.Duration // NotBefore further ahead than this is ignored
	Plausible     time.Duration // tracks' reports may disagree with their arrivals by this much
}

// Default returns the values used for zero fields.
func Default() Config {
	return Config{
		Settle:        400 * time.Millisecond,
		StepTolerance: 100 * time.Millisecond,
		JumpTolerance: 500 * time.Millisecond,
		BackTolerance: time.Second,
		StallTime:     15 * time.Second,
		MaxHold:       10 * time.Second,
		Plausible:     time.Second,
	}
}

func (c Config) filled() Config {
	d := Default()
	for _, f := range []struct{ v, d *time.Duration }{
		{&c.Settle, &d.Settle}, {&c.StepTolerance, &d.StepTolerance}, {&c.JumpTolerance, &d.JumpTolerance},
		{&c.BackTolerance, &d.BackTolerance}, {&c.StallTime, &d.StallTime}, {&c.MaxHold, &d.MaxHold},
		{&c.Plausible, &d.Plausible},
	} {
		if *f.v == 0 {
			*f.v = *f.d
		}
	}
	return c
}

const (
	maxSlew   = 500_000          // ppb: the most a map bends
	slewFrom  = 2_000_000        // ns: bend when further off than this,
	slewUntil = 500_000          // ns: until nearer than this, so that a steady camera keeps its exact durations
	horizon   = 10 * time.Second // an error is worked off over this time, when the slew allows; a bend lasts no longer
	knotEvery = 250 * time.Millisecond
	lateBy    = time.Second // see StallTime
)

// Kind of verdict.
type Kind uint8

// Verdicts.
const (
	OK   Kind = iota
	Step      // the server's clock was set: close the run, keep both times
	Jump      // the camera's PTS does not go on from where it was: begin anew with a new Map
)

func (k Kind) String() string { return [...]string{"ok", "step", "jump"}[k] }

// Verdict is what Observe concludes from one unit. After Step and Jump the
// map must not be used for that unit or later ones: the caller makes a new one,
// or, after a Step, lets this one go on for a while (Postpone).
type Verdict struct {
	Kind Kind

	// Step: what the clock would have said, and what it says.
	Before, After media.Wall

	// Jump: how far the PTS moved against its arrivals; negative = back or stood still.
	By time.Duration

	// OK, but the camera's own clock was set by this much: nothing changes in
	// the timeline; 0 = it was not.
	CameraStep time.Duration
}

// Observation is what is known about one unit when it arrives.
type Observation struct {
	Track    int
	PTS      int64      // ticks, camera's media clock, unwrapped
	NTP      media.Wall // by the camera's sender reports; 0 = not known
	Received media.Wall // by the server's clock, before any batching; 0 = not known
	Mono     int64      // the same instant on CLOCK_BOOTTIME; 0 = not known
}
