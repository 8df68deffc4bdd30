package api

import (
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"media-server/core/fault"
	"media-server/core/web"
)

// Keys is GET keys: what keys there are, never a key.
type Keys struct {
	Signing    []SigningKey    `json:"signing"`
	Signs      string          `json:"signs,omitempty"` // key that pools are signed with until the next start; none = no pool signs
	Pending    bool            `json:"export_pending"`  // the signing key has not been saved elsewhere
	Vault      string          `json:"vault"`           // of the keys of encrypted footage: none, open, closed
	VaultWhy   string          `json:"vault_why,omitempty"`
	Encryption *EncryptionKeys `json:"encryption,omitempty"` // of an open vault
}

// SigningKey is a key that footage is, or was, signed with.
type SigningKey struct {
	ID      string `json:"id"`
	Made    int64  `json:"made_ms"`
	InForce bool   `json:"in_force"`
}

// EncryptionKeys are the keys of encrypted footage.
type EncryptionKeys struct {
	Master    string         `json:"master"`
	Made      int64          `json:"made_ms"` // of the master key
	Keys      int            `json:"keys"`    // one a stream and UTC day
	Streams   int            `json:"streams"`
	First     string         `json:"first,omitempty"` // day
	Last      string         `json:"last,omitempty"`
	Destroyed []DestroyedKey `json:"destroyed"`
}

// DestroyedKey is a key that was destroyed.
type DestroyedKey struct {
	ID  string `json:"id"`
	UID string `json:"uid"`
	Day string `json:"day"`
	At  int64  `json:"at_ms"`
	Who string `json:"who"`
}

// DestroyedDay is what destroying the keys of a day did.
type DestroyedDay struct {
	UID   string `json:"uid"`
	Day   string `json:"day"`
	Keys  int    `json:"keys"`
	Files int    `json:"files"` // that cannot be read any more
}

// ImportedKeys is what importing an export added.
type ImportedKeys struct {
	Encryption int `json:"encryption"` // keys of encrypted footage
	Public     int `json:"public"`     // keys that signed footage verifies with
}

// ErrNoKeys is what DestroyKeys returns when there is nothing to destroy.
var ErrNoKeys = errors.New("there is no key of that stream and day")

// KeyKeeper is the part of Backend that keeps keys.
type KeyKeeper interface {
	Keys() (Keys, error)
	// RotateKeys makes a new master key of encrypted footage and returns its id.
	RotateKeys() (string, error)
	DestroyKeys(uid, day string, force bool, who string) (DestroyedDay, error)
	// ImportKeys takes over what an export (PEM) has and this server lacks.
	ImportKeys(export, passphrase, who string) (ImportedKeys, error)
}

var keyRoutes = []route{
	{"GET", "keys", Administrator, (*API).keys},
	{"POST", "keys/rotate", Administrator, (*API).rotateKeys},
	{"POST", "keys/destroy", Administrator, (*API).destroyKeys},
	{"POST", "keys/import", Administrator, (*API).importKeys},
}

func (a *API) keys(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	k, err := a.b.Keys()
	if err != nil {
		return web.E(503, "keys", "the folder of the keys cannot be read: "+err.Error(), "see [keys] path")
	}
	web.JSON(ctx, k)
	return nil
}

func (a *API) rotateKeys(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	id, err := a.b.RotateKeys()
	if err != nil {
		return keyFault(err)
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "rotated the master key, now "+id)
	web.JSON(ctx, struct {
		Master string `json:"master"`
	}{id})
	return nil
}

func (a *API) destroyKeys(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	var in struct {
		UID, Day, Confirm string
		Force             bool
	}
	if e := strict(ctx, &in); e != nil {
		return e
	}
	if in.UID == "" || in.Day == "" || in.Confirm != in.UID+" "+in.Day {
		return web.E(409, "confirm", "destroying a key makes a day of footage unreadable for ever", `say so: {"uid":"UID","day":"2006-01-02","confirm":"UID 2006-01-02"}`)
	}
	d, err := a.b.DestroyKeys(in.UID, in.Day, in.Force, who.Name)
	if err != nil {
		return keyFault(err)
	}
	how := ""
	if in.Force {
		how = ", locks or not"
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), fmt.Sprintf("destroyed the key of %s for %s (%d files)%s", d.UID, d.Day, d.Files, how))
	web.JSON(ctx, d)
	return nil
}

func (a *API) importKeys(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	var in struct{ Export, Passphrase string }
	if e := strict(ctx, &in); e != nil {
		return e
	}
	if in.Export == "" {
		return web.E(400, "bad_body", "export is missing", "the text of the file that media-server keys export wrote, beside its passphrase")
	}
	n, err := a.b.ImportKeys(in.Export, in.Passphrase, who.Name)
	if err != nil {
		return keyFault(err)
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), fmt.Sprintf("imported %d keys of encrypted footage and %d public keys", n.Encryption, n.Public))
	web.JSON(ctx, n)
	return nil
}

func keyFault(err error) *web.Error {
	p := new(fault.Problem)
	switch {
	case errors.Is(err, ErrNoKeys):
		return web.E(404, "no_such_key", err.Error(), "days are those of UTC; GET keys tells which there are")
	case errors.As(err, &p):
		return web.E(409, "keys", p.What, p.Hint)
	}
	return web.E(503, "keys", err.Error(), "see the problems page")
}
