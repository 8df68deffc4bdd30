package ports

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// busyFor is how long a bind is tried again: the sockets of a process that was
// killed may be closed after its end is known.
const busyFor = 500 * time.Millisecond

// socket gives the listener of an address without the name of an interface: the one
// that was held, or a new one. A port that is in use is asked for again for so long.
// One whose port is 0 is not held, as nobody could find it.
func (p *Ports) socket(address string, hold bool, busy time.Duration) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving {
		return nil, net.ErrClosed
	}
	if !hold {
		l, err := p.bind(address, busy)
		if err != nil {
			return nil, err // not a nil listener in an interface
		}
		return l, nil
	}
	held := checkAddress(address) == nil && !anyPort(address)
	l, err := p.takeUp(address)
	if err != nil {
		p.opt.Log.Warn("a held listener is not used", "address", address, "err", err)
	}
	if l == nil {
		if l, err = p.fromGiven(address); l != nil {
			return l, nil // who has given it keeps it open
		}
		if err != nil {
			p.opt.Log.Warn("a listener that was given is not used", "address", address, "err", err)
		}
		if l, err = p.bind(address, busy); err != nil {
			return nil, err
		}
		if held {
			(&listener{TCPListener: l, ports: p}).give(address)
		}
	}
	out := &listener{TCPListener: l, ports: p, address: address}
	if held {
		p.open[address] = out
	}
	return out, nil
}

// takeUp makes a listener of a held socket; nil = there is none, or the name in
// its address has moved elsewhere.
func (p *Ports) takeUp(address string) (*net.TCPListener, error) {
	fd, ok := p.taken[address]
	if !ok {
		return nil, nil
	}
	if err := listens(fd, address); err != nil || moved(fd, address) {
		p.drop(address)
		return nil, err
	}
	delete(p.taken, address)
	return listenerOf(fd, address)
}

// fromGiven makes a listener of the given socket that is bound to an address;
// nil = there is none.
func (p *Ports) fromGiven(address string) (*net.TCPListener, error) {
	i := slices.IndexFunc(p.opt.Given, func(fd int) bool { return listens(fd, address) == nil && !moved(fd, address) })
	if i < 0 {
		return nil, nil
	}
	fd := p.opt.Given[i]
	p.opt.Given = slices.Delete(slices.Clone(p.opt.Given), i, i+1)
	return listenerOf(fd, address)
}

// listenerOf takes a descriptor over.
func listenerOf(fd int, address string) (*net.TCPListener, error) {
	f := os.NewFile(uintptr(fd), address)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	t, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("a socket of %s", l.Addr().Network())
	}
	return t, nil
}

func (p *Ports) bind(address string, busy time.Duration) (*net.TCPListener, error) {
	for end := time.Now().Add(busy); ; time.Sleep(20 * time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l.(*net.TCPListener), nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, nowhere(err, address) // it names the address
		}
		if p.dropPort(address) {
			continue
		}
		if time.Now().After(end) {
			return nil, explain(err, address)
		}
	}
}

// dropPort lets go of unclaimed sockets that have the port of an address: the
// settings had it for another interface before.
func (p *Ports) dropPort(address string) (dropped bool) {
	_, port, _ := net.SplitHostPort(address)
	for a := range p.taken {
		if _, other, _ := net.SplitHostPort(a); other == port {
			p.drop(a)
			dropped = true
		}
	}
	return dropped
}

// drop lets go of an unclaimed socket, here and in the holder.
func (p *Ports) drop(address string) {
	unix.Close(p.taken[address])
	delete(p.taken, address)
	p.release(address)
}

// release has the holder let go of a socket.
func (p *Ports) release(address string) {
	if p.holder == nil || p.leaving {
		return
	}
	if _, err := p.holder.ask(nil, verbDrop, address); err != nil {
		p.opt.Log.Warn("a listener that is no longer configured cannot be let go", "address", address, "err", err)
	}
}

// listener is a listener whose socket the holder has, too.
type listener struct {
	*net.TCPListener
	ports   *Ports
	address string
}

// give has the holder hold the socket; the caller has the lock.
func (l *listener) give(address string) {
	rc, err := l.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) { l.ports.give(address, int(fd)) }) // closed: nothing to hold
}

// Close closes the listener here. The holder keeps its own until a core comes
// that does not ask for it.
func (l *listener) Close() error {
	l.ports.mu.Lock()
	if l.ports.open[l.address] == l {
		delete(l.ports.open, l.address)
	}
	l.ports.mu.Unlock()
	return l.TCPListener.Close()
}
