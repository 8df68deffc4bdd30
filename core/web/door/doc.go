// Package door decides at the front door: who asks, over what connection, and
// whether the request may go on. It joins access (accounts, rules) to HTTP.
//
//	request ─▶ Identify (control socket, API token, session, open address) ─▶ api
//	        ─▶ Play ─▶ Admit (rule of the stream, play token, session, address) ─▶ playback
//	rtsp, webrtc ─▶ Admit: what somebody shows, over any protocol, as often as they ask
//	        ─▶ LoginAllowed, SameOrigin, Secure ─▶ cpanel
//
// What does not belong here: passwords and tokens (access), answers (api,
// playback, cpanel).
//
// Invariants:
//   - Over the control socket the user of the machine is named, by the kernel's
//     word and not by what the client says of itself.
//   - A session changes things only with this server's Origin.
//   - An address lets nobody in when the request came through a proxy.
//   - Forwarding headers are believed from trusted proxies alone.
package door
