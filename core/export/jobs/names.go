package jobs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"media-server/core/media"
)

// mostName leaves room for a number, ".proof" and what a copying program puts
// behind it, in the 255 bytes of a name.
const mostName = 200

const suffix = ".mp4"

// devices are names that Windows gives to no file: exports are carried there.
var devices = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)`)

const nameHint = "a plain name such as gate-case-12.mp4: the file goes to [export] path"

// CleanName checks the wanted name of a file and puts .mp4 behind it where it
// is missing. The error is a *Failure: a name is never bent into another one that
// the asker did not mean.
func CleanName(name string) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		return "", failure(CodeBadName, nameHint, "file_name "+format, args...)
	}
	if strings.EqualFold(filepath.Ext(name), suffix) {
		name = name[:len(name)-len(suffix)] + suffix
	} else {
		name += suffix
	}
	switch stem := strings.TrimSuffix(name, suffix); {
	case !utf8.ValidString(name):
		return bad("is not UTF-8")
	case strings.TrimSpace(stem) == "":
		return bad("is empty")
	case strings.ContainsAny(name, `/\`):
		return bad("holds a path")
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }):
		return bad("holds characters that do not print")
	case strings.ContainsAny(name, `<>:"|?*`):
		return bad(`holds one of < > : " | ? *`)
	case name[0] == '.' || name[0] == '-' || name[0] == '~':
		return bad("begins with %q", name[:1])
	case strings.TrimSpace(stem) != stem || strings.HasSuffix(stem, "."):
		return bad("begins or ends with a blank, or ends with a dot")
	case devices.MatchString(name):
		return bad("is reserved: Windows keeps it for a device")
	case len(name) > mostName:
		return bad("is longer than %d bytes", mostName)
	}
	return name, nil
}

// nameOf is the name of an export that nobody has named.
func nameOf(uid string, s media.Span) string {
	const layout = "20060102T150405Z"
	return fmt.Sprintf("%s-%s-%s%s", uid, s.From.Time().Format(layout), s.To.Time().Format(layout), suffix)
}

// numbered is the n-th name that is tried where the ones before are taken.
func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, suffix), n, suffix)
}

// named tells that a job holds a name. j.mu is held.
func (j *Jobs) named(name string) bool {
	for _, x := range j.jobs {
		if x.holds() && strings.EqualFold(x.File, name) {
			return true
		}
	}
	return false
}

// taken is named for who does not hold j.mu.
func (j *Jobs) taken(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.named(name)
}

func (j *Jobs) exists(name string) bool {
	_, err := os.Lstat(j.path(name))
	return err == nil
}

// Temporary names; they begin with a dot, as no name of an export does.
func partOf(id string) string      { return "." + id + ".part" }
func proofPartOf(id string) string { return "." + id + ".proof.part" }

var partName = regexp.MustCompile(`^\.([0-9a-f]{16})\.(proof\.)?part$`)

// newName is a record that was being replaced.
var newName = regexp.MustCompile(`^[0-9a-f]{16}\.json\.new$`)
