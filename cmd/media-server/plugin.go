package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"media-server/plugins/sdk/conformance"
)

type pluginCmd struct {
	Check pluginCheckCmd `cmd:"" help:"Start a plugin as the server would and try every rule of the protocol."`
}

type pluginCheckCmd struct {
	Path string `arg:"" help:"The plugin's executable, or its folder with plugin.ini."`
	URL  string `help:"Drivers: a source that delivers media, for the rules about frames."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (c *pluginCheckCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := conformance.Check(ctx, c.Path, conformance.Options{URL: c.URL})
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
