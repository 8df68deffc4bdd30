package node

import (
	"media-server/core/fault"
	"media-server/core/pluginhost"
)

// PluginManifest reads a plugin's folder, for `plugin check`.
func PluginManifest(dir string) (pluginhost.Manifest, *fault.Problem) {
	return pluginhost.ReadManifest(dir)
}

// CheckPlugins reads the plugin folders without starting anything: plugins
// that would be refused, and streams that none of the others takes. All are
// warnings, as the folders are not settings: what is missing may come.
func (s *Settings) CheckPlugins() fault.Problems {
	var ps fault.Problems
	if !s.usable {
		return nil
	}
	known, storage, found := []string{}, []string{}, false
	for _, p := range pluginhost.Look(pluginOptions(s)) {
		if q := p.Problem; q != nil && p.State == pluginhost.StateRefused {
			w := *q
			w.Level = fault.Warning
			ps.Add(w)
		}
		if p.Kind == "driver" || p.Kind == "" && p.Endpoint != "" {
			known = append(append(known, p.Name), p.Schemes...)
		}
		if p.Kind == "storage" {
			storage = append(storage, p.Name)
		}
		found = true
	}
	if found { // else the server's plugins are not on this machine
		for _, p := range s.UnknownDrivers(known) {
			p.Where = ""
			ps = append(ps, p)
		}
		if len(storage) > 0 {
			ps = append(ps, s.UnknownStorage(storage)...)
		}
	}
	ps.Sort()
	return ps
}

// pluginOptions is what the settings say of plugins.
func pluginOptions(set *Settings) pluginhost.Options {
	o := pluginhost.Options{
		Dirs: set.Server.PluginsDir, RunDir: set.Server.RunDir, DataDir: set.Server.DataDir,
		Allow: set.Plugins.Allow, Plugins: map[string]pluginhost.Plugin{},
		Linger: set.Plugins.Linger, Buffer: set.Plugins.Buffer, BufferMax: set.Plugins.BufferMax, RestartMax: set.Plugins.RestartMax,
	}
	for name, p := range set.Plugins.Plugins {
		o.Plugins[name] = pluginhost.Plugin{Disabled: !p.Enable, Exec: p.Exec, Args: p.Args, Env: p.Env,
			Endpoint: p.Endpoint, SHA256: p.SHA256, Settings: p.Settings}
	}
	return o
}
