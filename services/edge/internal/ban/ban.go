// Package ban keeps whose requests are refused whatever they show: addresses that
// collected refusals, for a time that grows, and networks that an administrator
// named. Start reading at Manager.
package ban

import (
	"net/netip"
	"time"
)

// Cause is what an address is held against.
type Cause string

// The causes, which are also reasons of bans.
const (
	// Credentials were refused.
	Credentials Cause = "credentials"
	// Firewall refused a request.
	Firewall Cause = "firewall"
	// Slow clients were disconnected.
	Slow Cause = "slow"
)

// ByGateway is who bans on its own.
const ByGateway = "gateway"

// Ban is a network whose requests are refused.
type Ban struct {
	Network netip.Prefix
	// Reason is an administrator's text, or a Cause.
	Reason string
	// By is subject@tenant, or ByGateway.
	By            string
	Since, Expire time.Time
	// Level is how often the gateway itself has banned the network in a row; 0 for
	// an administrator's ban.
	Level int
}

// unit is the network that an address is banned with: itself, or its /64.
func unit(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
