package main

import (
	"fmt"
	"os"
	"path/filepath"

	"media-server/core/fault"
	"media-server/core/node"
)

// confPath finds media-server.ini.
func (g *globals) confPath() (string, error) {
	if g.Conf != "" {
		return g.Conf, nil
	}
	for _, p := range []string{"conf/media-server.ini", "/etc/media-server/media-server.ini"} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", fault.New("", "there is no media-server.ini", "name it with -c FILE or $MEDIA_SERVER_CONF, or run where conf/media-server.ini is")
}

// load reads the settings; those that cannot be used at all are an error.
func (g *globals) load() (*node.Settings, error) {
	path, err := g.confPath()
	if err != nil {
		return nil, err
	}
	set, ps := node.Load(path)
	if !set.Usable() {
		return nil, ps
	}
	return set, nil
}

// server is a client of the running server and the settings it was found by.
// A server whose media-server.ini was spoiled meanwhile runs on by its last
// good settings, so it is asked all the same.
func (g *globals) server() (*client, *node.Settings, error) {
	path, err := g.confPath()
	if err != nil {
		return nil, nil, err
	}
	set, ps := node.Load(path)
	cl := newClient(filepath.Join(set.Server.RunDir, "control.sock"))
	if !set.Usable() && (!filepath.IsAbs(set.Server.RunDir) || !cl.running()) {
		return nil, nil, ps
	}
	return cl, set, nil
}

type checkCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *checkCmd) Run(g *globals) error {
	path, err := g.confPath()
	if err != nil {
		return err
	}
	set, ps := node.Load(path)
	ps = append(ps, set.CheckPlugins()...)
	code, err := node.PrintCheck(os.Stdout, set, ps, c.JSON)
	if err != nil {
		return err
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

type configCmd struct {
	Show configShowCmd `cmd:"" help:"Each key with the file and line it comes from."`
}

type configShowCmd struct {
	UID       string `arg:"" optional:"" help:"Stream; without it the server's settings."`
	Effective bool   `help:"Also keys that are at their default."`
	JSON      bool   `name:"json" help:"Print JSON."`
}

func (c *configShowCmd) Run(g *globals) error {
	set, err := g.load()
	if err != nil {
		return err
	}
	keys, err := set.Show(c.UID, c.Effective)
	if err != nil {
		return err
	}
	return node.PrintKeys(os.Stdout, keys, c.JSON)
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("media-server", version)
	return nil
}
