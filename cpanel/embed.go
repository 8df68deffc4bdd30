// Package cpanel holds the files of the web interface: templates and static
// files, embedded in the binary. Files of the same name below the operator's
// cpanel-dir take their place. It holds no logic; core/web/cpanel serves it.
package cpanel

import "embed"

// Files holds templates/ and static/.
//
//go:embed templates static
var Files embed.FS
