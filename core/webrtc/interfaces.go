package webrtc

import (
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// anew is the network whose interfaces are listed at each call: pion's lists them
// once, and addresses that come later (DHCP, a VPN, a cable plugged in) would not be
// told to players. Safe for concurrent use.
type anew struct{ stdnet.Net }

// Interfaces implements transport.Net.
func (*anew) Interfaces() ([]*transport.Interface, error) {
	n, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	return n.Interfaces()
}
