package bucket

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// private is the folder of the space's own objects.
const private = ".space"

const maxName = 200

// CheckName refuses what is not a name of the protocol.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return status.Error(codes.InvalidArgument, "a name has 1 to 200 bytes")
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-/", c) >= 0) {
			return status.Error(codes.InvalidArgument, "a name is made of A-Z a-z 0-9 . _ - and /")
		}
	}
	for i, el := range strings.Split(name, "/") {
		if el == "" || el == "." || el == ".." || i == 0 && strings.EqualFold(el, private) {
			return status.Error(codes.InvalidArgument, "a name has no empty, . or .. elements and does not begin with "+private)
		}
	}
	return nil
}
