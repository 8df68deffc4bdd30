package ports

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// followed is a listener whose socket may come later, and be another in time.
type followed struct {
	ports *Ports
	want  string // as in the settings
	name  string // of the network interface in it; empty = there is none
	hold  bool

	// Of step alone: since when the interface has no address beyond the link, and not the
	// one that is listened on.
	lacking, gone time.Time

	mu      sync.Mutex
	at      net.Listener  // accepted from; nil = it waits
	changed chan struct{} // closed when at is another, or this is closed
	closed  bool
	ails    error
	since   time.Time // of ails
}

// Accept implements net.Listener. It waits as long as there is nothing to accept from.
func (f *followed) Accept() (net.Conn, error) {
	for {
		f.mu.Lock()
		l, changed, closed := f.at, f.changed, f.closed
		f.mu.Unlock()
		if closed {
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: f.Addr(), Err: net.ErrClosed}
		}
		if l == nil {
			<-changed
			continue
		}
		c, err := l.Accept()
		if err == nil {
			return c, nil
		}
		select {
		case <-changed: // it was closed for another
		default:
			return nil, err
		}
	}
}

// Close implements net.Listener.
func (f *followed) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return net.ErrClosed
	}
	f.closed = true
	l := f.at
	close(f.changed)
	f.mu.Unlock()
	f.ports.listing.Lock()
	f.ports.follows = slices.DeleteFunc(f.ports.follows, func(o *followed) bool { return o == f })
	f.ports.listing.Unlock()
	if l == nil {
		return nil
	}
	return l.Close()
}

// Addr implements net.Listener: a *net.TCPAddr, unless it waits for one.
func (f *followed) Addr() net.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil {
		return awaited(f.want)
	}
	return f.at.Addr()
}

// awaited is an address of the settings that is not there yet.
type awaited string

func (a awaited) Network() string { return "tcp" }
func (a awaited) String() string  { return string(a) }

// ip is the address that is listened on; not valid = it waits.
func (f *followed) ip() netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return ipOf(f.at, f.name)
}

// move accepts from another socket from now on. Nobody has asked the holder for the
// one before: it lets go of it.
func (f *followed) move(to net.Listener, address string) {
	f.mu.Lock()
	old := f.at
	if f.closed {
		f.mu.Unlock()
		to.Close()
		return
	}
	f.at = to
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	if old == nil {
		return
	}
	f.ports.opt.Log.Info("a listener follows its network interface to another address", "address", f.want, "from", old.Addr().String(), "at", address)
	if l, ok := old.(*listener); ok {
		f.ports.mu.Lock()
		f.ports.release(l.address)
		f.ports.mu.Unlock()
	}
	old.Close()
}

// tell keeps what ails the listener, and logs it when it is news.
func (f *followed) tell(err error) {
	f.mu.Lock()
	before, up := f.ails, f.at != nil
	f.ails = err
	switch {
	case err == nil:
		f.since = time.Time{}
	case before == nil:
		f.since = time.Now()
	}
	f.mu.Unlock()
	log := f.ports.opt.Log
	switch {
	case err == nil && before != nil:
		log.Info("a listener has its address", "address", f.want, "at", f.Addr().String())
	case err == nil || before != nil && before.Error() == err.Error():
	case up:
		log.Warn("a listener is not where it should be", "address", f.want, "at", f.Addr().String(), "err", err)
	default:
		log.Warn("a listener waits for its address, the rest of the server does not", "address", f.want, "err", err)
	}
}

func (f *followed) trouble() Trouble {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Trouble{Address: f.want, Up: f.at != nil, Err: f.ails, Since: f.since}
}
