// Package callwire carries calls of gRPC with one request, and one answer or a stream of
// them, between two services on connections of their own, one call at a time on each. The
// caller writes the request and reads the answers where it is, and the server runs the
// handler on the connection's goroutine: nobody is woken in between, and no HTTP/2 is
// spoken. Handlers, interceptors, metadata, deadlines and statuses are those of gRPC.
//
// A connection comes through the port of the gRPC server and its credentials, and is told
// apart by its first byte (Server.Credentials). It is not needed for anything: whatever
// cannot go this way, goes by an ordinary call, so that old and new services mix.
//
// Bytes on the line, integers in network order:
//
//	client: preface                              server: preface
//	client: 'C' head:u32 message:u32 head msg    server: 'A' head:u32 message:u32 head msg
//	                                             server: 'B' 0:u32 0:u32
//
//	client: 'S' head:u32 message:u32 head msg    server: 'H' head:u32 0:u32 head, once at most
//	                                             server: 'M' 0:u32 message:u32 msg, as often as there are
//	                                             server: 'A' head:u32 0:u32 head
//	client: 'P' 0:u32 0:u32                      server: 'P' 0:u32 0:u32
//
// 'S' asks for a stream: its header, unless it is empty, its messages, and its status with
// the trailer. How far the server may be ahead is what the connection takes. 'P' asks, when
// a stream is silent, whether the server is there, and is answered by the same.
//
// 'B' says, in place of an answer or while nothing is asked, that the server takes no
// further call here and has not begun the one that may be on its way. A client that wants
// an answer no more closes the connection.
//
// The package knows no service and chooses no address; start reading at Server and Pool.
package callwire

import "time"

// preface is said by both sides first. HTTP/2's begins with a letter on the client's side
// ("PRI"), and with the three bytes of a small length, 0 0 n, on the server's. A server
// says the one that it has heard; one that closes on streamPreface does not know streams.
const (
	preface       = "\x00PC1"
	streamPreface = "\x00PC2"
)

// The kinds of frames.
const (
	kindCall   = 'C'
	kindAnswer = 'A'
	kindBye    = 'B'

	kindStream  = 'S'
	kindHeader  = 'H'
	kindMessage = 'M'
	kindPing    = 'P'
)

// ping is a whole frame.
const ping = string(kindPing) + "\x00\x00\x00\x00\x00\x00\x00\x00"

// prefixBytes is the size of what is before a head.
const prefixBytes = 1 + 4 + 4

const (
	// MaxMessage is the largest request, in bytes, that goes this way.
	MaxMessage = 256 << 10
	// maxHead bounds what goes with a message: method, metadata, status.
	maxHead = 64 << 10
	// maxCallHead is the largest head of a request that goes this way.
	maxCallHead = 16 << 10
	// keptBuffer is the largest buffer of a message that is used again.
	keptBuffer = 64 << 10
	// readBuffer is a buffer for reading; what fits is not copied.
	readBuffer = 8 << 10
	// heldBytes is how much may wait for a message that is said to follow.
	heldBytes = 16 << 10
)

// longAgo is a deadline that ends reads and writes at once.
func longAgo() time.Time { return time.Unix(1, 0) }
