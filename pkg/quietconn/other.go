//go:build !unix

package quietconn

import "net"

// Probe looks at one connection.
type Probe struct{}

// New returns what looks at a connection.
func New(net.Conn) *Probe { return new(Probe) }

// Quiet cannot tell here; a connection that was closed is found out by its use.
func (*Probe) Quiet() bool { return true }

// Without calls of the system that end at once, writing is left to package net.
func readNow(uintptr, []byte) (n int, done bool, err error) { return 0, false, nil }

func quietNow(uintptr) bool { return true }

func writeNow(uintptr, []byte) int { return 0 }
