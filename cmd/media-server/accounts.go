package main

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"media-server/core/node"
	"media-server/core/timeline"
	"media-server/core/web/api"
)

// accounts gives the accounts of the running server, or, when none runs, of
// the files.
func (g *globals) accounts() (api.Accounts, func() error, error) {
	cl, set, err := g.server()
	if err != nil {
		return nil, nil, err
	}
	if cl.running() {
		return remote{cl}, func() error { return nil }, nil
	}
	o, err := node.OpenOffline(context.Background(), set)
	if err != nil {
		return nil, nil, err
	}
	return o, o.Close, nil
}

// remote is the running server's accounts.
type remote struct{ c *client }

func (r remote) CreateToken(name, role string, ttl time.Duration, _ string) (string, api.Token, error) {
	var out struct {
		api.Token
		Secret string `json:"token"`
	}
	err := r.c.do("POST", "/api/v1/tokens/api", api.NewToken{Name: name, Role: role, TTL: fmt.Sprintf("%dms", ttl.Milliseconds())}, &out)
	return out.Secret, out.Token, err
}

func (r remote) Tokens() (ts []api.Token) {
	ts, err := all[api.Token](r.c, "/api/v1/tokens")
	if err != nil {
		fmt.Fprintln(os.Stderr, "media-server:", err)
	}
	return ts
}

func (r remote) RevokeToken(id string) error {
	return r.c.do("DELETE", "/api/v1/tokens/"+url.PathEscape(id), nil, nil)
}

func (r remote) SetPassword(user, password string) error {
	return r.c.do("POST", "/api/v1/users/"+url.PathEscape(user)+"/password", map[string]string{"password": password}, nil)
}

type passwdCmd struct {
	User   string `arg:"" help:"User."`
	Digest bool   `help:"Not in this version." hidden:""`
}

// Run reads the password from standard input: it must not stand in a process
// list or a shell's history.
func (c *passwdCmd) Run(g *globals) error {
	if c.Digest {
		return usagef("--digest is not in this version")
	}
	var pw string
	if term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprint(os.Stderr, "new password: ")
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return err
		}
		pw = string(b)
	} else {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil && line == "" {
			return fmt.Errorf("read the password from standard input: %w", err)
		}
		pw = strings.TrimRight(line, "\r\n")
	}
	acc, done, err := g.accounts()
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	return acc.SetPassword(c.User, pw)
}

type tokenCmd struct {
	API    tokenAPICmd    `cmd:"" name:"api" help:"Make an API token; the token alone is the last line of standard output."`
	List   tokenListCmd   `cmd:"" help:"List API tokens."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke an API token."`
}

type tokenAPICmd struct {
	Role string `default:"administrator" enum:"viewer,operator,administrator" help:"viewer, operator or administrator."`
	TTL  string `name:"ttl" default:"24h" help:"How long it is good; 0 = for ever."`
	Name string `default:"command line" help:"What it is for."`
}

func (c *tokenAPICmd) Run(g *globals) error {
	ttl, err := timeline.ParseSpan(c.TTL)
	if err != nil {
		return usagef("--ttl: %v", err)
	}
	acc, done, err := g.accounts()
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	secret, _, err := acc.CreateToken(c.Name, c.Role, ttl, "command line")
	if err != nil {
		return err
	}
	fmt.Println(secret)
	return nil
}

type tokenListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *tokenListCmd) Run(g *globals) error {
	acc, done, err := g.accounts()
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	ts := acc.Tokens()
	if c.JSON {
		return printJSON(ts)
	}
	w := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tROLE\tEXPIRES")
	for _, t := range ts {
		until := "never"
		if t.Expires > 0 {
			until = time.UnixMilli(t.Expires).Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.ID, t.Name, t.Role, until)
	}
	return w.Flush()
}

type tokenRevokeCmd struct {
	ID string `arg:"" help:"Token id, from token list."`
}

func (c *tokenRevokeCmd) Run(g *globals) error {
	acc, done, err := g.accounts()
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	return acc.RevokeToken(c.ID)
}
