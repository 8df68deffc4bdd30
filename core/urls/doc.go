// Package urls tells at which URLs a client reaches what this server serves. A
// client outside of the network that the server stands in may have to use another
// host and port than one inside: the operator maps them in [address-map.N].
//
//	who asks (address, Host, TLS) ─┐
//	services that are on, ports ───┼─▶ Config.URLs ─▶ name ─▶ absolute URL
//	stream, its protocols, token ──┤
//	[address-map.N] ───────────────┘
//
// What does not belong here: who asks (web/door finds out), who may play (access),
// redirects and playlists: what they hold is relative and needs no map, and so it
// shall stay.
//
// Invariants:
//   - All is a pure function of its arguments; nothing is looked up in a network.
//   - A URL is given only for a service that is on and a protocol that the stream
//     offers.
//   - An address that is not known for certain is nobody's: it is not mapped.
//
// No goroutines.
package urls
