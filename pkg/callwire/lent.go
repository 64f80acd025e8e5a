package callwire

import "github.com/poterne/poterne/pkg/buffers"

// lent is memory that one side's connections and streams share, of which those that wait
// hold none. What is read ahead is in buffers of one size, and not in those of messages,
// which grow: a connection of TLS holds one while it waits.
type lent struct{ ahead, messages *buffers.Pool }

func newLent() lent {
	return lent{ahead: buffers.New(readBuffer, readBuffer), messages: buffers.New(0, keptBuffer)}
}
