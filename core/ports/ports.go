package ports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options of Ports.
type Options struct {
	RunDir  string        // of the holder's socket; held by this core alone
	Command []string      // starts a holder, with Verb and RunDir behind it; nil = listeners end with this process
	Linger  time.Duration // the holder ends so long after a core that died; 0 = 30 s
	Log     *slog.Logger
}

// Ports gives listeners that outlive this process. Safe for concurrent use.
type Ports struct {
	opt Options

	mu      sync.Mutex
	holder  *holder              // nil = none
	taken   map[string]int       // sockets of an earlier core that nobody has asked for yet
	open    map[string]*listener // what is listened on
	leaving bool
}

// Open connects to the holder of an earlier core, or starts one. That neither
// can be done is told in the log alone: the server then serves without.
func Open(ctx context.Context, opt Options) *Ports {
	opt.Linger = cmp.Or(opt.Linger, firstLinger)
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	p := &Ports{opt: opt, taken: map[string]int{}, open: map[string]*listener{}}
	if opt.Command == nil {
		return p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.find(ctx); p.holder == nil {
		p.start(ctx)
	}
	return p
}

// find takes the sockets of a running holder. One of another version is asked
// for them and ends: the next is of ours.
func (p *Ports) find(ctx context.Context) {
	h, err := dial(ctx, p.opt.RunDir)
	if h == nil {
		if err != nil {
			p.opt.Log.Warn("the holder of the listeners cannot be used", "err", err)
		}
		return
	}
	version, sockets, err := h.take(p.opt.Linger)
	if err != nil {
		p.opt.Log.Warn("the holder of the listeners does not answer and is replaced", "pid", h.proc.PID, "err", err)
		h.kill()
		return
	}
	p.taken = sockets
	if version != protocol {
		p.opt.Log.Info("the holder of the listeners is of another version and is replaced", "pid", h.proc.PID, "version", version)
		if _, err := h.ask(nil, verbLeave, "0"); err != nil {
			h.kill()
		}
		h.close()
		return
	}
	p.opt.Log.Info("listeners were held", "pid", h.proc.PID, "addresses", slices.Sorted(maps.Keys(p.taken)))
	p.holder = h
}

// start starts a holder and gives it all that is there.
func (p *Ports) start(ctx context.Context) {
	h, err := launch(ctx, p.opt)
	if err != nil {
		p.opt.Log.Warn("listeners cannot be held: should the server end, players are refused until it is back", "err", err)
		return
	}
	p.holder = h
	for a, fd := range p.taken {
		p.give(a, fd)
	}
	for a, l := range p.open {
		l.give(a)
	}
}

// give has the holder hold a socket.
func (p *Ports) give(address string, fd int) {
	if p.holder == nil {
		return
	}
	if _, err := p.holder.ask([]int{fd}, verbHold, address); err != nil {
		p.opt.Log.Warn("a listener cannot be held", "address", address, "err", err)
	}
}

// busyFor is how long a bind is tried again: the sockets of a process that was
// killed may be closed after its end is known.
const busyFor = 500 * time.Millisecond

// Listen gives the listener of an address, as net.Listen("tcp", address) does:
// the one that was held, or a new one. One whose port is 0 is not held, as
// nobody could find it.
func (p *Ports) Listen(address string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := checkAddress(address) == nil && !anyPort(address)
	l, err := p.takeUp(address)
	if err != nil {
		p.opt.Log.Warn("a held listener is not used", "address", address, "err", err)
	}
	if l == nil {
		if l, err = p.bind(address); err != nil {
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

func (p *Ports) bind(address string) (*net.TCPListener, error) {
	for end := time.Now().Add(busyFor); ; time.Sleep(20 * time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l.(*net.TCPListener), nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, err // it names the address
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
	if p.holder == nil {
		return
	}
	if _, err := p.holder.ask(nil, verbDrop, address); err != nil {
		p.opt.Log.Warn("a listener that is no longer configured cannot be let go", "address", address, "err", err)
	}
}

// Settle closes the sockets that no service has asked for: they are no longer
// configured.
func (p *Ports) Settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range p.taken {
		p.opt.Log.Info("a listener is no longer configured", "address", a)
		p.drop(a)
	}
}

const (
	soon     = time.Second      // pause before a holder is started that lived shorter than stable
	latest   = 30 * time.Second // longest pause
	stable   = 10 * time.Second
	lastWord = 2 * time.Second
)

// Run replaces a holder that ends, until ctx does.
func (p *Ports) Run(ctx context.Context) error {
	if p.opt.Command == nil {
		<-ctx.Done()
		return nil
	}
	pause := time.Duration(0)
	for {
		p.mu.Lock()
		h := p.holder
		p.mu.Unlock()
		if h != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-h.gone:
			}
			if time.Since(h.since) > stable {
				pause = 0
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(max(2*pause, soon), latest)
		p.replace(ctx, h)
	}
}

// replace starts a holder in the place of one that has ended.
func (p *Ports) replace(ctx context.Context, old *holder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving {
		return
	}
	if old != nil {
		p.opt.Log.Warn("the holder of the listeners has ended and is started again", "pid", old.proc.PID)
		old.kill() // one that hangs still has the ports
	}
	p.holder = nil
	p.start(ctx)
}

// Leave tells the holder that this process is about to end: it keeps the
// sockets for so long after, or closes them now. The first word counts.
func (p *Ports) Leave(keep time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving || p.holder == nil {
		p.leaving = true
		return
	}
	p.leaving = true
	if _, err := p.holder.ask(nil, verbLeave, formatMilliseconds(keep)); err != nil {
		p.opt.Log.Warn("the holder of the listeners does not answer and is ended", "pid", p.holder.proc.PID, "err", err)
		_ = p.holder.proc.Kill(lastWord)
	}
}

// Close ends the connection to the holder, not the holder. The listeners given
// belong to who asked for them.
func (p *Ports) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = true
	for a, fd := range p.taken {
		unix.Close(fd)
		delete(p.taken, a)
	}
	if p.holder != nil {
		p.holder.close()
		p.holder = nil
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
