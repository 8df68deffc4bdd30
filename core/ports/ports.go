package ports

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
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
	Given   []int         // listening sockets that come from elsewhere and are held there
	Log     *slog.Logger
}

// Ports gives listeners that outlive this process. Safe for concurrent use.
type Ports struct {
	opt Options

	mu      sync.Mutex
	holder  *holder              // nil = none
	taken   map[string]int       // sockets of an earlier core that nobody has asked for yet
	open    map[string]*listener // what is listened on
	settled bool                 // all that is configured has been asked for
	leaving bool

	listing sync.Mutex  // of follows: who asks for Troubles does not wait for a bind
	follows []*followed // listeners whose address may come or change

	look func(name string) ([]net.Addr, error) // addresses of a network interface; errNoInterface
}

// Open connects to the holder of an earlier core, or starts one. That neither
// can be done is told in the log alone: the server then serves without.
func Open(ctx context.Context, opt Options) *Ports {
	opt.Linger = cmp.Or(opt.Linger, firstLinger)
	if abs, err := filepath.Abs(opt.RunDir); err == nil {
		opt.RunDir = abs // the holder stands elsewhere
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	p := &Ports{opt: opt, taken: map[string]int{}, open: map[string]*listener{}, look: addressesOf}
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

// Settle closes the sockets that no service has asked for: they are no longer
// configured.
func (p *Ports) Settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range p.taken {
		p.opt.Log.Info("a listener is no longer configured", "address", a)
		p.drop(a)
	}
	p.settled = true
	if !p.waits() { // one may be that of an address which is still to come: step looks again
		p.closeGiven(true)
	}
}

// closeGiven lets go of given sockets that were not asked for.
func (p *Ports) closeGiven(tell bool) {
	for _, fd := range p.opt.Given {
		if at, err := boundTo(fd); tell {
			p.opt.Log.Warn("a socket that was given is at no address of the settings", "address", at, "err", err)
		}
		unix.Close(fd)
	}
	p.opt.Given = nil
}

const (
	soon     = time.Second      // pause before a holder is started that lived shorter than stable
	latest   = 30 * time.Second // longest pause
	stable   = 10 * time.Second
	lastWord = 2 * time.Second
)

// Run replaces a holder that ends, and follows the addresses of listeners, until ctx
// ends.
func (p *Ports) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { p.follow(ctx) })
	defer wg.Wait()
	return p.watch(ctx)
}

// watch replaces a holder that ends.
func (p *Ports) watch(ctx context.Context) error {
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
	p.closeGiven(false)
	if p.holder != nil {
		p.holder.close()
		p.holder = nil
	}
}
