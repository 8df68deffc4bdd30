// Package ports keeps listening sockets open across deaths of the core.
//
// Its one job: a small process of our own, the holder, has duplicates of the
// sockets that the core listens on. When the core dies the kernel goes on
// taking connections into their backlog, and the next core, which gets the
// sockets back, serves them: a player is never refused.
//
//	core ── Starting ─▶ the holder of an earlier core waits for this one
//	  ├── Open ─▶ connect to run-dir/ports.sock ─▶ take ─▶ sockets held so far
//	  │               else start a holder, detached
//	  ├── Listen(address) ─▶ eth0 ─▶ its address ─▶ the held socket, else bind ─▶ hold (SCM_RIGHTS) ─▶ holder
//	  │               └─ the address is not there ─▶ the listener waits for it (Troubles)
//	  ├── Settle ─▶ drop what no service has asked for
//	  ├── Run: a holder that ends is replaced and given every socket;
//	  │        every 2 s: an address has come, gone, or a better one is there ─▶ bind ─▶ hold, drop the one before
//	  └── Leave(how long) ─▶ kept for a restart, or closed at once
//
// HOLDER.md is the protocol between the two, which may be of different
// versions, and says when sockets are let go and why.
//
// What does not belong here: what is spoken on a connection (web), how a
// detached process is held (process), which addresses there are (settings).
//
// Invariants:
//   - The holder never accepts, reads or writes a connection of a client.
//   - An address, interface or host name that is not there keeps nobody from starting; a
//     port that another program has does.
//   - Without a holder the core serves all the same; its listeners then end
//     with it.
//   - Only a process of our own user is given a socket, and one is believed to
//     be a listener of that address only after the kernel was asked.
//   - The holder ends by itself: no core for as long as it was told, its socket
//     removed, SIGTERM. Its listeners are closed before its connections, so
//     that who sees it gone finds the ports free.
//   - No descriptor is passed on to other processes.
//
// Goroutines: Run owns the watch over the holder and that over addresses; each connection
// has a reader, ended and waited for by Close. In the holder, Hold owns all and waits.
package ports
