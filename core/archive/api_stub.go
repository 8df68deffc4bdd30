package archive

import (
	"context"
	"os"

	"media-server/core/media"
)

// Expect says what the next unit of a track looks like in a resumed run.
type Expect struct {
	Track int
	Base  int64 // tfdt, ticks
}

// Archive is the media database.
type Archive struct{}

// Open opens the databases, recovers what was growing and makes the spaces ready.
func Open(ctx context.Context, o Options) (*Archive, error) { return nil, ErrClosed }

// Run does the archive's work until ctx ends; recorders are closed first.
func (a *Archive) Run(ctx context.Context) error { return ErrClosed }

// Recorder gives the recorder of a stream; one at a time.
func (a *Archive) Recorder(uid string, rules Rules) (*Recorder, error) { return nil, ErrClosed }

// Segments lists the segments that overlap s, in order; the last may be growing.
func (a *Archive) Segments(uid string, s media.Span) ([]Segment, error) { return nil, ErrClosed }

// Ranges lists what is recorded of s, and what is missing between the first
// and the last footage of the stream.
func (a *Archive) Ranges(uid string, s media.Span) ([]Range, []Gap, error) { return nil, nil, ErrClosed }

// Bounds is the span from the first to the last footage of a stream.
func (a *Archive) Bounds(uid string) (media.Span, bool) { return media.Span{}, false }

// Streams lists every uid with footage.
func (a *Archive) Streams() ([]string, error) { return nil, ErrClosed }

// Tracks gives the parameters behind an InitID.
func (a *Archive) Tracks(id InitID) ([]media.Track, error) { return nil, ErrClosed }

// Layout gives the sample table of a file.
func (a *Archive) Layout(id FileID) (*Layout, error) { return nil, ErrClosed }

// Pin holds a file for reading.
func (a *Archive) Pin(id FileID) (*Pin, error) { return nil, ErrClosed }

// Watch signals after each part added to the stream.
func (a *Archive) Watch(uid string) (<-chan struct{}, func()) { return nil, func() {} }

// Rebuild scans a space ("" = all) and brings the catalogue in line with it.
func (a *Archive) Rebuild(ctx context.Context, space string, progress func(done, total int)) error {
	return ErrClosed
}

// Recorder records one stream. Its methods are called from one goroutine at a
// time; Append, Begin and End never block.
type Recorder struct{}

// Resume tells where the last run of the stream goes on, if it still can.
func (r *Recorder) Resume() (Resume, bool) { return Resume{}, false }

// NextSegment gives the numbers that a new run starts with: a segment number
// never used before and the discontinuity counter of the last segment.
func (r *Recorder) NextSegment() (segment, discontinuity uint64) { return 0, 0 }

// Begin starts a run, or new parameters in a run, or continues the run that
// Resume told of. why says why there is nothing before it.
func (r *Recorder) Begin(run media.RunID, zero media.Wall, tracks []media.Track, why GapCause) error {
	return ErrClosed
}

// Append stores a part; it takes a reference of its own.
func (r *Recorder) Append(p *media.Part) error { return ErrClosed }

// OnDurable registers what is told how far the stream survives a power cut.
// f must not block, and not keep the position's slice.
func (r *Recorder) OnDurable(f func(media.RunPosition)) {}

// End ends the run: the file is sealed. cause is why footage is missing from here on.
func (r *Recorder) End(cause GapCause) {}

// Gap reports units that are known to be lost.
func (r *Recorder) Gap(s media.Span, why GapCause) {}

// SetRules changes the rules of the stream at once.
func (r *Recorder) SetRules(rules Rules) {}

// Close ends the recorder without sealing: the run may be resumed.
func (r *Recorder) Close() {}

// Pin holds a file: its bytes stay readable until Release, or until 60 s after
// its deletion was decided.
type Pin struct{}

// ReadAt implements io.ReaderAt; what is not yet in storage comes from memory.
func (p *Pin) ReadAt(b []byte, off int64) (int, error) { return 0, ErrClosed }

// File gives a descriptor for sendfile with explicit offsets, good for the
// bytes below limit; ok is false where there is none.
func (p *Pin) File() (f *os.File, limit int64, ok bool) { return nil, 0, false }

// Release ends the hold.
func (p *Pin) Release() {}
