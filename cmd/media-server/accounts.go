package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"media-server/core/media"
	"media-server/core/node"
	"media-server/core/timeline"
	"media-server/core/web/api"
)

// accounts are those of a server, running or not.
type accounts interface {
	api.Accounts
	api.PlayTokens
}

// accounts gives the accounts of the running server, or, when none runs, of
// the files.
func (g *globals) accounts() (accounts, func() error, error) {
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

func (r remote) CreatePlayToken(t api.NewPlayToken) (string, api.PlayToken, error) {
	in := map[string]any{"uid": t.UID, "user": t.User, "ttl": fmt.Sprintf("%dms", t.TTL.Milliseconds())}
	if t.Address.IsValid() {
		in["ip"] = t.Address.String()
	}
	if t.From != 0 {
		in["from"] = t.From.Time().Format(time.RFC3339Nano)
	}
	if t.To != 0 {
		in["to"] = t.To.Time().Format(time.RFC3339Nano)
	}
	var out struct {
		api.PlayToken
		Text string `json:"token"`
	}
	err := r.c.do("POST", "/api/v1/tokens/play", in, &out)
	return out.Text, out.PlayToken, err
}

func (r remote) PlayTokens(after string, limit int) ([]api.PlayToken, error) {
	var out struct {
		Items []api.PlayToken `json:"items"`
	}
	err := r.c.do("GET", fmt.Sprintf("/api/v1/tokens?kind=play&limit=%d&cursor=%s", limit, url.QueryEscape(after)), nil, &out)
	return out.Items, err
}

func (r remote) RevokeForeign(id string) error {
	return r.c.do("DELETE", "/api/v1/tokens/"+url.PathEscape(id)+"?foreign=true", nil, nil)
}

func (r remote) RotateTokenSecret(revoke bool) error {
	return r.c.do("POST", "/api/v1/keys/token/rotate", map[string]bool{"revoke": revoke}, nil)
}

func (r remote) SetPassword(user, password string) error {
	return r.c.do("POST", "/api/v1/users/"+url.PathEscape(user)+"/password", map[string]string{"password": password}, nil)
}

func (r remote) SetPlayer(user, password string) error {
	return r.c.do("POST", "/api/v1/users/"+url.PathEscape(user)+"/digest", map[string]string{"password": password}, nil)
}

func (r remote) RemovePlayer(user string) error {
	return r.c.do("DELETE", "/api/v1/users/"+url.PathEscape(user)+"/digest", nil, nil)
}

type passwdCmd struct {
	User   string `arg:"" help:"User."`
	Digest bool   `help:"Of an account for players that know HTTP Digest ([rtsp] auth), apart from the users of cpanel. It is made if there is none; the server must run."`
	Remove bool   `help:"With --digest: remove the account. What plays by it ends."`
}

// Run reads the password from standard input: it must not stand in a process
// list or a shell's history.
func (c *passwdCmd) Run(g *globals) error {
	if c.Remove && !c.Digest {
		return usagef("--remove goes with --digest")
	}
	pw := ""
	if !c.Remove {
		var err error
		if pw, err = readPassword(); err != nil {
			return err
		}
	}
	acc, done, err := g.accounts()
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	switch {
	case c.Remove:
		return acc.RemovePlayer(c.User)
	case c.Digest:
		return acc.SetPlayer(c.User, pw)
	}
	return acc.SetPassword(c.User, pw)
}

func readPassword() (string, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprint(os.Stderr, "new password: ")
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(b), err
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && line == "" {
		return "", fmt.Errorf("read the password from standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

type tokenCmd struct {
	API    tokenAPICmd    `cmd:"" name:"api" help:"Make an API token; the token alone is the last line of standard output."`
	Play   tokenPlayCmd   `cmd:"" help:"Make a token that plays one stream; the token alone is the last line of standard output."`
	List   tokenListCmd   `cmd:"" help:"List API tokens and play tokens."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke a token: what was opened with it ends within two seconds."`
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
	plays, err := allPlayTokens(acc)
	if err != nil {
		return err
	}
	if c.JSON {
		list := []any{}
		for i := range ts {
			list = append(list, ts[i])
		}
		for i := range plays {
			list = append(list, plays[i])
		}
		return printJSON(list)
	}
	w := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKIND\tFOR\tRIGHT\tEXPIRES")
	when := func(ms int64) string {
		if ms == 0 {
			return "never"
		}
		return time.UnixMilli(ms).Format(time.DateTime)
	}
	for _, t := range ts {
		fmt.Fprintf(w, "%s\tapi\t%s\t%s\t%s\n", t.ID, t.Name, t.Role, when(t.Expires))
	}
	for _, t := range plays {
		right := t.UID
		if t.Address != "" {
			right += " from " + t.Address
		}
		if t.From != 0 || t.To != 0 {
			right += ", a span"
		}
		fmt.Fprintf(w, "%s\tplay\t%s\t%s\t%s\n", t.ID, t.User, right, when(t.Expires))
	}
	return w.Flush()
}

func allPlayTokens(acc accounts) (out []api.PlayToken, err error) {
	const page = 1000
	after := ""
	for {
		ts, err := acc.PlayTokens(after, page)
		if out = append(out, ts...); err != nil || len(ts) < page {
			return out, err
		}
		after = ts[len(ts)-1].ID
	}
}

type tokenPlayCmd struct {
	UID  string `arg:"" help:"Stream."`
	TTL  string `name:"ttl" default:"1h" help:"How long it is good, at most 366d."`
	IP   string `name:"ip" placeholder:"ADDRESS" help:"Address or network that may use it; none = any."`
	From string `placeholder:"TIME" help:"Only what was recorded from here on."`
	To   string `placeholder:"TIME" help:"Only what was recorded up to here."`
	User string `help:"Whom it is for."`
}

func (c *tokenPlayCmd) Run(g *globals) error {
	set, err := g.load()
	if err != nil {
		return err
	}
	t := api.NewPlayToken{UID: c.UID, User: c.User, By: "command line"}
	if t.TTL, err = timeline.ParseSpan(c.TTL); err != nil {
		return usagef("--ttl: %v", err)
	}
	if t.Address, err = api.ParseAddress(c.IP); err != nil {
		return usagef("--ip: %v", err)
	}
	now := time.Now()
	for _, x := range []struct {
		flag, text string
		to         *media.Wall
	}{{"--from", c.From, &t.From}, {"--to", c.To, &t.To}} {
		if x.text == "" {
			continue
		}
		if *x.to, err = timeline.ParseTime(x.text, now, set.Server.Zone()); err != nil {
			return usagef("%s: %v", x.flag, err)
		}
	}
	acc, done, err := g.accounts()
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	text, _, err := acc.CreatePlayToken(t)
	if err = errors.Join(err, set.GiveBack()); err != nil { // the secret may have been made just now
		return err
	}
	fmt.Println(text)
	return nil
}

type tokenRevokeCmd struct {
	ID      string `arg:"" help:"Token id, from token list."`
	Foreign bool   `help:"The id is the jti of a play token that was made elsewhere with this server's secret."`
}

func (c *tokenRevokeCmd) Run(g *globals) error {
	acc, done, err := g.accounts()
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	if c.Foreign {
		return acc.RevokeForeign(c.ID)
	}
	return acc.RevokeToken(c.ID)
}
