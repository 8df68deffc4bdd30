// Package schedule tells what a weekly schedule says at an instant and when it
// says something else next. It is pure.
//
//	"mon-fri 08:00-18:00 continuous; sat,sun event" ─Parse─▶ Week ─▶ At(t), Next(t), Spans(from, to)
//
// Times of day are those on the wall: of the time's own location. In the week
// in which the clock is put forward a range inside the missing hour does not
// happen, and one around it is an hour shorter; when it is put back what falls
// into the doubled hour happens twice.
//
// What does not belong here: what is done at a change (stream), zones
// (node's [server] time-zone). No goroutine, no clock.
package schedule
