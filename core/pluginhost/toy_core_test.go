package pluginhost

func toyCore() {}
