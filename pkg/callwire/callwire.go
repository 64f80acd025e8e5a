// Package callwire carries unary calls of gRPC between two services on connections of
// their own, one call at a time on each. The caller writes the request and reads the
// answer where it is, and the server runs the handler on the connection's goroutine:
// nobody is woken in between, and no HTTP/2 is spoken. Handlers, interceptors, metadata,
// deadlines and statuses are those of gRPC.
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
// 'B' says, in place of an answer or while nothing is asked, that the server takes no
// further call here and has not begun the one that may be on its way. A client that wants
// an answer no more closes the connection.
//
// The package knows no service and chooses no address; start reading at Server and Pool.
package callwire

import "time"

// preface is said by both sides first. HTTP/2's begins with a letter on the client's side
// ("PRI"), and with the three bytes of a small length, 0 0 n, on the server's.
const preface = "\x00PC1"

// The kinds of frames.
const (
	kindCall   = 'C'
	kindAnswer = 'A'
	kindBye    = 'B'
)

// prefixBytes is the size of what is before a head.
const prefixBytes = 1 + 4 + 4

const (
	// MaxMessage is the largest request, in bytes, that goes this way.
	MaxMessage = 256 << 10
	// maxHead bounds what goes with a message: method, metadata, status.
	maxHead = 64 << 10
	// maxCallHead is the largest head of a request that goes this way.
	maxCallHead = 16 << 10
	// keptBuffer is the largest buffer that a connection keeps between two calls.
	keptBuffer = 64 << 10
	// readBuffer is a connection's buffer for reading; what fits is not copied.
	readBuffer = 8 << 10
)

// longAgo is a deadline that ends reads and writes at once.
func longAgo() time.Time { return time.Unix(1, 0) }
