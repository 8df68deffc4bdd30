package node

import (
	"context"
	"errors"
	"time"

	"media-server/core/fault"
	"media-server/core/ports"
	"media-server/core/web/api"
)

// ErrForGood as the cause of the end of Run's context: a person has stopped the
// server, and nobody is about to start it again.
var ErrForGood = errors.New("stopped for good")

// restartWithin is how long ports are held for the next server after one that
// was told to stop and not whether it comes back: SIGTERM is the first half of
// a restart as well as a stop. A restart by systemd takes less than a second;
// a client of a server that was stopped waits no longer than this until it is
// refused. Where systemd stops the service it removes run-dir, and the holder
// lets the ports go at once (core/ports/HOLDER.md).
const restartWithin = 3 * time.Second

// tellStarting has the holder wait for this server, as soon as no other can come:
// opening what it stands on may take longer than restartWithin.
func (n *Node) tellStarting(ctx context.Context, set *Settings) {
	n.starting = func() {}
	if n.opt.Holder != nil {
		n.starting = ports.Starting(ctx, set.Server.RunDir, set.Plugins.Linger)
	}
}

// listen takes the ports: those that were held for this server, else its own.
// It comes late in the start, so that a server that fails before does not
// keep clients of a port waiting whom nobody will serve: the holder then closes the
// ports when it would have without it.
func (n *Node) listen(ctx context.Context, set *Settings) (err error) {
	n.ports = ports.Open(ctx, ports.Options{RunDir: set.Server.RunDir, Command: n.opt.Holder, Linger: set.Plugins.Linger, Given: n.given, Log: n.log})
	n.starting()
	if n.web, err = n.buildWeb(set); err != nil {
		return err
	}
	n.rtsp = n.buildRTSP(set)
	if err := n.listenAll(); err != nil {
		n.ports.Leave(0) // nobody would serve those who wait at the other ports
		hint := "another program may use the port; change listen in media-server.ini"
		var known *fault.Problem
		if errors.As(err, &known) && known.Hint != "" {
			hint = known.Hint
		}
		return fault.Wrap(err, "web", "cannot listen", hint)
	}
	n.ports.Settle()
	return nil
}

// listenAll opens every listener, or none. One whose address is not there yet waits for
// it (core/ports), and nothing waits for that one.
func (n *Node) listenAll() error {
	if err := n.web.listen(); err != nil || n.rtsp == nil {
		return err
	}
	err := n.rtsp.Listen()
	if err != nil {
		n.web.close()
	}
	return err
}

// leavePorts says how long ports are held after this server.
func (n *Node) leavePorts(ctx context.Context) {
	switch {
	case n.ports == nil:
	case errors.Is(context.Cause(ctx), ErrForGood):
		n.ports.Leave(0)
	default:
		n.ports.Leave(min(restartWithin, n.boot.Plugins.Linger))
	}
}

// portProblems tells of listeners that wait for their address, or have one that few
// reach, and of UDP ports that cannot be had. Nothing else waits for them.
func (n *Node) portProblems() (out []api.Problem) {
	if n.ports == nil {
		return nil
	}
	add := func(err error, where string, level fault.Level, since time.Time) {
		var p *fault.Problem
		if errors.As(fault.Wrap(err, where, "", ""), &p) {
			p.Level = level
			q := problemOf(p)
			if !since.IsZero() {
				q.Since = since.UnixMilli()
			}
			out = append(out, q)
		}
	}
	for _, t := range n.ports.Troubles() {
		level := fault.Error
		if t.Up {
			level = fault.Warning
		}
		add(t.Err, n.boot.sectionOf(t.Address), level, t.Since)
	}
	if n.rtsp != nil {
		add(n.rtsp.UDPErr(), "[rtsp]", fault.Warning, time.Time{})
	}
	return out
}

// sectionOf names the section that has a listener's address.
func (s *Settings) sectionOf(address string) string {
	for _, l := range []struct {
		section, address string
		on               bool
	}{
		{"http", s.Web.HTTP.Listen, s.Web.HTTP.Enable}, {"https", s.Web.HTTPS.Listen, s.Web.HTTPS.Enable}, {"admin", s.Web.Admin.Listen, s.Web.Admin.Enable},
		{"rtsp", s.RTSP.Listen, s.RTSP.Enable}, {"rtsps", s.RTSP.Secure.Listen, s.RTSP.Secure.Enable},
	} {
		if l.on && l.address == address {
			return "[" + l.section + "]"
		}
	}
	return ""
}

func (n *Node) closePorts() {
	if n.ports != nil {
		n.ports.Close()
	}
}
