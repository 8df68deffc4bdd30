// Package readers is what a recorder is measured against: programs that take
// the same cameras with as little work as can be, each a process of its own.
//
//	discard    a connection and a goroutine a camera: read 64 kB, forget
//	append     the same, every read appended to a file a camera
//	gather     append with SO_RCVLOWAT at 64 kB: a tenth of the wake-ups
//	gortsplib  gortsplib's client, packets parsed and forgotten
//
// None of them can tell what it has received; they are bounds, not recorders.
//
// Open owns the goroutines; they end with the process.
package readers
