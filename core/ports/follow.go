package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/fault"
)

const (
	lookEvery = 2 * time.Second
	// linkAfter is how long an interface that has addresses of the link alone is given
	// to get another: DHCP answers within seconds, or not at all.
	linkAfter = 10 * time.Second
)

// errNoAddress: an interface has no address to listen on yet.
var errNoAddress = errors.New("no address")

// Listen gives the listener of an address, as net.Listen("tcp", address) does, and the
// holder holds it. The name of a network interface may stand for the host, eth0:8080:
// that is its first address, as the system lists them, IPv4 before IPv6. One of the link
// (169.254.0.0/16, fe80::/10) is taken only after the interface has had no other for
// linkAfter. Run follows it: the listener moves when the address has gone and another is
// there, or a better one comes. Connections that were accepted stay.
//
// An address or a name that this machine does not have, or not yet, is no error: the listener
// accepts nobody until Run finds that it can be had, and Troubles tells of it; its Addr
// is then no *net.TCPAddr. A port in use is an error.
func (p *Ports) Listen(address string) (net.Listener, error) { return p.listen(address, true) }

// Unheld is Listen of a listener that ends with this process.
func (p *Ports) Unheld(address string) (net.Listener, error) { return p.listen(address, false) }

func (p *Ports) listen(address string, hold bool) (net.Listener, error) {
	f := &followed{ports: p, want: address, hold: hold, changed: make(chan struct{})}
	err := f.step(time.Now(), busyFor)
	if err != nil && !absent(err) {
		return nil, err
	}
	if err == nil && f.name == "" {
		return f.at, nil // nothing of it will change
	}
	f.tell(err)
	p.listing.Lock()
	defer p.listing.Unlock()
	p.follows = append(p.follows, f)
	return f, nil
}

// absent tells of an address that may be there later: a network interface comes with its
// cable or its tunnel, and a name when the resolver is up.
func absent(err error) bool {
	var unknown *net.DNSError
	return errors.Is(err, errNoAddress) || errors.Is(err, errNoInterface) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.As(err, &unknown)
}

func notHere(err error, address string) error {
	return fault.Wrap(fmt.Errorf("%w: no network interface of this machine has the address", err), "", "",
		"give it to one, or change listen = "+address+"; it is tried again every 2 s")
}

// follow looks after listeners whose address may come or change.
func (p *Ports) follow(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			p.step(now)
		}
	}
}

func (p *Ports) step(now time.Time) {
	for _, f := range p.followed() {
		if err := f.step(now, 0); !errors.Is(err, net.ErrClosed) {
			f.tell(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settled && len(p.opt.Given) > 0 && !p.waits() {
		p.closeGiven(true)
	}
}

func (p *Ports) followed() []*followed {
	p.listing.Lock()
	defer p.listing.Unlock()
	return slices.Clone(p.follows)
}

// Trouble is what keeps a listener from where it should be.
type Trouble struct {
	Address string // as in the settings
	Up      bool   // it listens somewhere all the same
	Err     error  // a *fault.Problem with a hint, as a rule
	Since   time.Time
}

// Troubles lists the listeners that wait for an address, or have one that few reach.
func (p *Ports) Troubles() (out []Trouble) {
	for _, f := range p.followed() {
		if t := f.trouble(); t.Err != nil {
			out = append(out, t)
		}
	}
	return out
}

// waits tells whether a listener has no socket yet.
func (p *Ports) waits() bool {
	return slices.ContainsFunc(p.followed(), func(f *followed) bool { return !f.trouble().Up })
}

// step brings a listener to where it should be now, if it can; the error says why it
// is not. One goroutine at a time.
func (f *followed) step(now time.Time, busy time.Duration) error {
	at, err := f.place(now)
	if err == nil && at != "" {
		var l net.Listener
		if l, err = f.ports.socket(at, f.hold, busy); err == nil {
			f.move(l, at)
		} else if errors.Is(err, unix.EADDRNOTAVAIL) {
			err = notHere(err, f.want)
		}
	}
	if err == nil && f.name != "" && rankOf(f.ip()).ofLink() {
		return fault.Wrap(&lack{fmt.Sprintf("listen %s: network interface %s has addresses of the link alone: only its neighbours reach %s", f.want, f.name, f.ip()), errNoAddress}, "", "",
			"see why it gets no other (DHCP, ip address show dev "+f.name+"); one that comes is listened on within 2 s")
	}
	return err
}

// place is the address that is to be bound now; empty = none.
func (f *followed) place(now time.Time) (string, error) {
	if f.name == "" {
		if f.ip().IsValid() {
			return "", nil
		}
		name, zone := interfaceIn(f.want)
		switch {
		case f.ports.hasInterface(name):
			f.name = name // from now on, should it go as well
		case zone != "" && !f.ports.hasInterface(zone):
			return "", fault.Wrap(&lack{fmt.Sprintf("listen %s: there is no network interface %s", f.want, zone), errNoInterface}, "", "",
				"ip address show lists what there is; it is listened on within 2 s of its coming")
		case f.ports.isHeld(f.want):
			return f.want, nil
		default:
			return f.want, nowhere(known(name), f.want)
		}
	}
	all, err := f.ports.look(f.name)
	if err != nil && !errors.Is(err, errNoInterface) {
		return "", fmt.Errorf("listen %s: %w", f.want, err)
	}
	best, r, has := first(all, f.name, f.ip())
	if has != rankNone || !f.ip().IsValid() {
		f.gone = time.Time{}
	} else if f.gone.IsZero() {
		f.gone = now
	}
	if r > rankLink4 {
		f.lacking = time.Time{}
	} else if f.lacking.IsZero() {
		f.lacking = now
	}
	_, port, _ := net.SplitHostPort(f.want)
	at := net.JoinHostPort(best.String(), port)
	if a := f.held(all, r, port); a != "" {
		at = a
	}
	switch {
	case err != nil:
		return "", f.lacks("has gone", err)
	case r == rankNone:
		return "", f.lacks("has no address", errNoAddress)
	case r <= has:
		return "", nil
	case f.gone.Equal(now):
		return "", f.lacks("has no longer the address "+f.ip().String(), errNoAddress) // it may be given it anew at this moment
	case r.ofLink() && now.Sub(f.lacking) < linkAfter && !f.ports.isHeld(at):
		return "", f.lacks(fmt.Sprintf("has addresses of the link alone, which are taken if no other comes within %v", linkAfter), errNoAddress)
	}
	return at, nil
}

func (p *Ports) hasInterface(name string) bool {
	if name == "" {
		return false
	}
	_, err := p.look(name)
	return !errors.Is(err, errNoInterface)
}

// held is an address as good as the best that an earlier core has listened on, for who
// begins: its clients go on there. Empty = there is none.
func (f *followed) held(all []net.Addr, best rank, port string) string {
	if f.ip().IsValid() {
		return ""
	}
	for a := range addressesIn(all, f.name) {
		if at := net.JoinHostPort(a.String(), port); rankOf(a) == best && f.ports.isHeld(at) {
			return at
		}
	}
	return ""
}

// known asks for a host name before a lock is taken for it: the resolver may be slow.
func known(host string) error {
	if host == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	return err
}

func (f *followed) lacks(what string, err error) error {
	_, port, _ := net.SplitHostPort(f.want)
	return fault.Wrap(&lack{fmt.Sprintf("listen %s: network interface %s %s", f.want, f.name, what), err}, "", "",
		"give it one (ip address show dev "+f.name+" lists them; it is listened on within 2 s), or write an address, or :"+port+" for all interfaces")
}

// lack says in its own words what is lacking.
type lack struct {
	text string
	err  error
}

func (l *lack) Error() string { return l.text }
func (l *lack) Unwrap() error { return l.err }

// isHeld tells whether an earlier core has listened there: its clients need not wait.
func (p *Ports) isHeld(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.taken[address]
	return ok
}

// ipOf is the address that a listener has.
func ipOf(l net.Listener, zone string) netip.Addr {
	if l == nil {
		return netip.Addr{}
	}
	t, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	a := t.AddrPort().Addr().Unmap()
	if rankOf(a) == rankLink6 {
		a = a.WithZone(zone)
	}
	return a
}
