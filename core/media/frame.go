package media

import "time"

// Frame is an access unit with its place on the server's timeline, as viewers get it.
type Frame struct {
	Tracks []Track // in force; the same slice until tracks or their parameters change
	Run    RunID
	Zero   Wall // of the run's media time: with Run it names a stretch of one time map
	Track  int  // Track.ID
	PTS    Wall
	DTS    Wall          // of one track never less than that of the frame before, within a stretch
	Dur    time.Duration // until the next of the track; 0 = it has not come yet
	Key    bool          // decodable without earlier ones
	Break  bool          // footage is missing in front of it, or another stretch begins

	// Payload is in MP4 sample form, see AccessUnit. Who gives the frame says how
	// long it is valid; nobody changes it.
	Payload []byte
}

// Follows tells whether both are of one stretch of one time map.
func (f *Frame) Follows(run RunID, zero Wall) bool { return f.Run == run && f.Zero == zero }

// Of finds the frame's track.
func (f *Frame) Of() *Track {
	for i := range f.Tracks {
		if f.Tracks[i].ID == f.Track {
			return &f.Tracks[i]
		}
	}
	return nil
}
