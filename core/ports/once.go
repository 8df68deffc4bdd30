package ports

import (
	"net"
	"time"
)

// Listen is net.Listen("tcp", address) with the name of an interface for the host, for
// who tries again by itself: the listener is not held, and not followed, and an address
// that is not there is an error. One of the link is taken if it was asked for since
// linkAfter ago or longer.
func Listen(address string, since time.Time) (net.Listener, error) {
	f := &followed{ports: &Ports{look: addressesOf}, want: address, lacking: since}
	at, err := f.place(time.Now())
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, nowhere(err, address)
	}
	return l, nil
}
