package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"media-server/core/node"
	"media-server/plugins/sdk/conformance"
)

type pluginCmd struct {
	Check pluginCheckCmd `cmd:"" help:"Start a plugin as the server would and try every rule of the protocol."`
}

type pluginCheckCmd struct {
	Path string            `arg:"" help:"The plugin's executable, or its folder with plugin.ini."`
	URL  string            `help:"Drivers: a source that delivers media, for the rules about frames."`
	Set  map[string]string `help:"Drivers: a stream's driver-KEY, without driver-. Storage: a space's key. KEY=VALUE, may be given again."`
	JSON bool              `name:"json" help:"Print JSON."`
}

func (c *pluginCheckCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := conformance.Options{URL: c.URL, Settings: c.Set}
	if st, err := os.Stat(c.Path); err == nil && st.IsDir() {
		m, problem := node.PluginManifest(c.Path)
		if problem != nil {
			return problem
		}
		o.Command, o.Dir, o.Manifest = m.Command, m.Dir, &conformance.Manifest{Name: m.Name, Kind: m.Kind, Schemes: m.Schemes}
	}
	r := conformance.Check(ctx, c.Path, o)
	if c.JSON {
		if err := printJSON(r); err != nil {
			return err
		}
	} else {
		fmt.Print(r)
	}
	if !r.OK() {
		return exitError(exitFailed)
	}
	return nil
}
