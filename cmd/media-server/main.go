// Command media-server records cameras and plays them back.
//
// It is a small door: each verb is at most a screen and the work is in core/.
// Verbs ask the running server over its control socket, and work on the files
// when none runs; a verb that cannot do both says so.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"media-server/core/fault"
)

// version is set by the linker.
var version = "dev"

// Exit codes: 0 done, 1 failed, 2 used wrongly, 78 settings refused
// (EX_CONFIG of sysexits.h).
const (
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78
)

type globals struct {
	Conf string `short:"c" name:"conf" placeholder:"FILE" env:"MEDIA_SERVER_CONF" help:"media-server.ini; default $$MEDIA_SERVER_CONF, ./conf/media-server.ini, /etc/media-server/media-server.ini."`
}

type cli struct {
	globals
	Run       runCmd       `cmd:"" help:"Run the server."`
	Check     checkCmd     `cmd:"" help:"Check all settings without starting; exit 0, or 78 with every problem."`
	Config    configCmd    `cmd:"" help:"Show settings."`
	Status    statusCmd    `cmd:"" help:"State of the server, or of one stream."`
	Problems  problemsCmd  `cmd:"" help:"What needs a person's attention."`
	Reload    reloadCmd    `cmd:"" help:"Read all settings again; a bad file leaves the last good ones in force."`
	Passwd    passwdCmd    `cmd:"" help:"Set a user's password, read from standard input."`
	Token     tokenCmd     `cmd:"" help:"Make, list and revoke API tokens."`
	Ranges    rangesCmd    `cmd:"" help:"What is recorded of a stream, and what is missing."`
	Export    exportCmd    `cmd:"" help:"Write a range of a stream to an MP4 file."`
	Lock      lockCmd      `cmd:"" help:"Keep footage whatever the rules say."`
	Retention retentionCmd `cmd:"" help:"What the rules delete, and how long footage will be kept."`
	Why       whyCmd       `cmd:"" help:"Why there is, or is not, footage of a stream at a time."`
	Inspect   inspectCmd   `cmd:"" help:"What should have been recorded in a day or a month, what was, and what is missing."`
	Backup    backupCmd    `cmd:"" help:"Save databases, keys and settings in one file; list such files."`
	Restore   restoreCmd   `cmd:"" help:"Bring a backup back (the server must not run)."`
	Verify    verifyCmd    `cmd:"" help:"Find what was changed, cut or taken away of signed footage."`
	Keys      keysCmd      `cmd:"" help:"The keys that footage is signed with."`
	Rebuild   rebuildCmd   `cmd:"" help:"Rebuild the catalogue from the media files (the server must not run)."`
	Events    eventsCmd    `cmd:"" help:"The journal, newest last."`
	Plugin    pluginCmd    `cmd:"" help:"Check a plugin against the protocol."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
	HoldPorts holdCmd      `cmd:"" hidden:"" help:"Keep the server's listeners open while it restarts; it starts this itself."`
}

// exitError ends the program with a code without saying anything more.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usageError tells of a verb that was used wrongly.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

func main() { os.Exit(realMain(os.Args[1:])) }

func realMain(args []string) int {
	var c cli
	k, err := kong.New(&c, kong.Name("media-server"), kong.Description("Records cameras, keeps the footage, plays it back."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		panic(err)
	}
	ctx, err := k.Parse(args)
	if err != nil {
		if later(args) {
			return exitUsage
		}
		fmt.Fprintln(os.Stderr, "media-server:", err)
		fmt.Fprintln(os.Stderr, "see: media-server --help")
		return exitUsage
	}
	err = ctx.Run(&c.globals)
	var code exitError
	var ps fault.Problems
	var used usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &used):
		fmt.Fprintln(os.Stderr, "media-server:", err)
		return exitUsage
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &ps):
		fmt.Fprintln(os.Stderr, ps.Error())
		return exitConfig
	}
	fmt.Fprintln(os.Stderr, "media-server:", err)
	return exitFailed
}

// laterVerbs are published verbs that this version lacks.
var laterVerbs = map[string]bool{"pack": true, "lua": true, "doctor": true,
	"cluster": true, "token play": true, "plugin new": true}

// later tells of a verb that is known and not built: the first words that are
// no flags, one or two.
func later(args []string) bool {
	var words []string
	for _, a := range args {
		if strings.HasPrefix(a, "-") || len(words) == 2 {
			break
		}
		words = append(words, a)
		if verb := strings.Join(words, " "); laterVerbs[verb] {
			fmt.Fprintf(os.Stderr, "media-server: %s is not in this version\n", verb)
			return true
		}
	}
	return false
}
