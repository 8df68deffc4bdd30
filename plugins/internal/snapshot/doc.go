// Package snapshot gets the picture that a camera itself makes, over HTTP: most have an
// address for it, behind Basic or Digest access (RFC 7617, RFC 7616).
//
// What does not belong here: finding that address (ONVIF's GetSnapshotUri), and decoding.
//
// Invariants: a redirect to another host, or out of TLS, is not followed, and an account is
// shown as it was asked for, so that an account is shown to
// the camera alone; an error tells no password.
package snapshot
