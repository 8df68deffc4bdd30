package space

import (
	"path"
	"strings"
)

// private is the folder of the space's own files. No name of the protocol
// reaches into it.
const private = ".space"

// openPrefix is where growing files live.
const openPrefix = "open/"

// maxName is the longest name in bytes.
const maxName = 200

// CheckName refuses what is not a name of the protocol: a relative path of at
// most 200 bytes of [A-Za-z0-9._-] and "/", without empty, "." or ".."
// elements, outside .space.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return refuse(BadName, "", "a name has 1 to 200 bytes")
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			if !nameByte(name[i]) {
				return refuse(BadName, "", "a name is made of A-Z a-z 0-9 . _ - and /")
			}
			continue
		}
		el := name[start:i]
		if el == "" || el == "." || el == ".." {
			return refuse(BadName, "", "a name has no empty, . or .. elements")
		}
		if start == 0 && strings.EqualFold(el, private) {
			return refuse(BadName, "", "a name does not begin with "+private)
		}
		start = i + 1
	}
	return nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// folder is the folder a name lies in; "." for the top.
func folder(name string) string { return path.Dir(name) }
