// Package cpanel holds the files of the web interface: templates and static
// files, embedded in the binary. It holds no logic; core/web/cpanel serves it.
//
//	templates/base, icons   head of every page; the sprite of icons
//	templates/login, password, home, player
//	static/home.js          the first page: what is chosen, played and shown
//	   ├ list.js ─ thumbs.js    cards of streams; their pictures, by one decoder
//	   ├ player.js ─ hls.js     live and past; words over a missing picture
//	   ├ timeline.js            draws ranges and gaps; tells where one points
//	   ├ footage.js             ranges and gaps of one stream, kept up to date
//	   ├ facts.js               stream, problems, events, server in words
//	   └ api.js, zone.js, dom.js
//	static/embed.js         the page for frames of other sites
//	static/login.js         login and change of password
//
// Invariants:
//   - What is shown comes from the public API; nothing is for cpanel alone.
//   - No inline script or style, no other host: the policy of core/web/cpanel
//     would refuse them, and a test does.
//   - Text from the server goes into the page as text, never as markup.
//   - Times are the server's, in its zone; days may have 23 or 25 hours.
//   - Nothing jumps: cards and buttons stay where they are while their
//     contents change, and what pops up lies over the page.
//   - Why there is no picture is said over the picture, with what to do.
//
// Scripts are plain modules with types in JSDoc, checked by hand with
// "tsc --checkJs --strict"; there is nothing to build. screenshot.png is for
// the README.
package cpanel

import "embed"

// Files holds templates/ and static/.
//
//go:embed templates static
var Files embed.FS
