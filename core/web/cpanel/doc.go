// Package cpanel serves the control panel: login, the change of the first
// password, the first page, static files, and the player page that other
// sites embed. The pages themselves lie in /cpanel and talk to the API.
//
//	/            ─▶ /cpanel/
//	/cpanel/     login, or change of password, or the first page
//	/cpanel/login, password, logout    POST, JSON
//	/cpanel/static/…                   embedded files
//
// What does not belong here: what a session may do (access), data (api).
//
// Invariants:
//   - The session cookie is HttpOnly and SameSite=Strict, and Secure over TLS.
//   - A change needs the Origin of this server, a login as well.
//   - Pages run under a strict content security policy: no inline script, no
//     foreign host. Only the player page may stand in a frame.
//   - Static files are read from the embedded tree alone: no path of a request
//     reaches the disk.
package cpanel
