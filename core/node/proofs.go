package node

import (
	"fmt"
	"io"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/export"
	"media-server/core/keys"
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/web/api"
)

// proofs makes the proofs of exports, a few at a time: each reads all that was
// exported and hashes it three times.
type proofs struct {
	n    *Node
	slot chan struct{}

	mu     sync.Mutex
	signer archive.Signer // of proofs, where no pool signs
}

const mostProofs = 2

func newProofs(n *Node) *proofs { return &proofs{n: n, slot: make(chan struct{}, mostProofs)} }

// key is the key that recordings are signed with. Where none are, it is made
// for the first proof.
func (k *proofs) key() (archive.Signer, error) {
	if k.n.signer != nil {
		return k.n.signer, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.signer == nil {
		s, err := keys.Open(keysDir(k.n.boot), k.n.boot.Signing.Passphrase)
		if err != nil {
			return nil, err
		}
		k.signer = s
	}
	return k.signer, nil
}

// signs tells whether a key was opened for proofs.
func (k *proofs) signs() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.signer != nil
}

// Proof implements api.Proofs.
func (b backend) Proof(uid string, ask api.NewProof) (out api.Proof, err error) {
	n := b.n
	select {
	case n.proofs.slot <- struct{}{}:
	default:
		return out, api.ErrBusy
	}
	m, err := mp4.New(n.timeline).Record(uid, ask.Span)
	p := &proofBody{m: m, slot: n.proofs.slot}
	defer func() {
		if err != nil {
			_ = p.Close()
		}
	}()
	if err != nil {
		return out, err
	}
	if ask.IfMatch != "" && ask.IfMatch != m.ETag {
		return out, api.ErrChanged
	}
	signer, err := n.proofs.key()
	if err != nil {
		return out, err
	}
	st, err := n.statement(uid, ask.Span, ask.Who, ask.Reason)
	if err != nil {
		return out, err
	}
	if p.Proof, err = export.Make(n.web.ctx, st, m, n.timeline, signer); err != nil {
		return out, err
	}
	at := func(w media.Wall) string { return w.Time().In(n.zone()).Format(time.DateTime) }
	n.emit(event("record.export", uid, "info", fmt.Sprintf("%s exported %s from %s to %s: %s", ask.Who, uid, at(ask.Span.From), at(ask.Span.To), ask.Reason),
		map[string]any{"who": ask.Who, "reason": ask.Reason, "from_ms": ask.Span.From.Milli(), "to_ms": ask.Span.To.Milli(), "bytes": m.Body.Size(), "etag": m.ETag}))
	return api.Proof{ETag: m.ETag, Body: p}, nil
}

// statement is what this server says in the proof of an export that is made now.
func (n *Node) statement(uid string, span media.Span, who, reason string) (st export.Statement, err error) {
	_, gaps, err := n.archive.Ranges(uid, span) // what was noted when it happened, and nothing of today's schedule
	if err != nil {
		return st, err
	}
	s, _ := backend{n}.Stream(uid)
	st = export.Statement{Server: n.current.Load().Server.Label(), Node: n.home.nodeName(), Program: "media-server " + n.opt.Version, UID: uid, Name: s.Name,
		Asked: span, Exporter: who, Reason: reason, Made: media.WallOf(now())}
	for _, g := range gaps {
		st.Gaps = append(st.Gaps, export.Gap{Span: g.Span, Why: g.Why})
	}
	return st, nil
}

// proofBody lets go of the movie and the place when a proof is over.
type proofBody struct {
	*export.Proof
	m    *mp4.Movie
	slot chan struct{}
	once sync.Once
}

var _ io.ReadCloser = (*proofBody)(nil)

// Close ends the making of the proof.
func (p *proofBody) Close() error {
	p.once.Do(func() {
		if p.Proof != nil {
			_ = p.Proof.Close() // never fails
		}
		if p.m != nil {
			p.m.Body.Release()
		}
		<-p.slot
	})
	return nil
}
