package callwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/quietconn"
)

var (
	errMalformed = errors.New("callwire: a frame cannot be read")
	errTooLarge  = errors.New("callwire: a frame is too large")
)

// prefix is what is before a head.
type prefix struct {
	kind          byte
	head, message int
}

func (p prefix) put(b []byte) {
	b[0] = p.kind
	binary.BigEndian.PutUint32(b[1:], uint32(p.head))
	binary.BigEndian.PutUint32(b[5:], uint32(p.message))
}

func prefixOf(b []byte) prefix {
	return prefix{b[0], int(binary.BigEndian.Uint32(b[1:])), int(binary.BigEndian.Uint32(b[5:]))}
}

// readPrefix reads a prefix of one of the kinds, or of a bye, within the bounds.
func readPrefix(r *quietconn.Reader, kinds string, maxMessage int) (prefix, error) {
	b, err := r.Peek(prefixBytes)
	if err != nil {
		return prefix{}, err
	}
	p := prefixOf(b)
	_, _ = r.Discard(prefixBytes) // it was peeked at
	switch {
	case p.kind == kindBye:
		return p, nil
	case strings.IndexByte(kinds, p.kind) < 0:
		return p, errMalformed
	case p.head > maxHead || p.message > maxMessage:
		return p, errTooLarge
	}
	return p, nil
}

// take gives the next n bytes to use, which are not kept after it returns. What is
// announced is not believed: memory is taken as it comes.
func take(r *quietconn.Reader, n int, use func([]byte) error) error {
	if n <= r.Size() {
		b, err := r.Peek(n)
		if err != nil {
			return cut(err)
		}
		err = use(b)
		_, _ = r.Discard(n) // it was peeked at
		return err
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return cut(err)
	}
	return use(b.Bytes())
}

// appendNext puts the next n bytes behind b; as in take, room is made as they come.
func appendNext(b []byte, r *quietconn.Reader, n int) ([]byte, error) {
	for end := len(b) + n; len(b) < end; {
		b = slices.Grow(b, min(end-len(b), max(len(b), r.Size())))
		got, err := io.ReadFull(r, b[len(b):min(end, cap(b))])
		if b = b[:len(b)+got]; err != nil {
			return b, cut(err)
		}
	}
	return b, nil
}

// cut is err within a frame.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendFrame puts a frame behind b, whose head and message are written by the functions,
// of which either may be nil.
func appendFrame(b []byte, kind byte, head func([]byte) []byte, message proto.Message) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, prefixBytes)...)
	p := prefix{kind: kind}
	if head != nil {
		b = head(b)
		if p.head = len(b) - at - prefixBytes; p.head > maxHead {
			return b[:at], errTooLarge
		}
	}
	if message != nil {
		began := len(b)
		var err error
		if b, err = (proto.MarshalOptions{}).MarshalAppend(b, message); err != nil {
			return b[:at], err
		}
		p.message = len(b) - began
	}
	p.put(b[at:])
	return b, nil
}

// callHead is what goes with a request.
type callHead struct {
	method   string
	timeout  time.Duration // 0: none
	metadata metadata.MD
}

func (h callHead) append(b []byte) []byte {
	b = appendText(b, h.method)
	b = binary.AppendUvarint(b, uint64(h.timeout))
	return appendMetadata(b, h.metadata)
}

// fits reports whether the head may go this way: it is small, and nothing in it is what
// gRPC refuses.
func (h callHead) fits() bool {
	n := h.atMost()
	for name, values := range h.metadata {
		if reserved(name) {
			continue
		}
		if strings.ContainsFunc(name, notInName) {
			return false
		}
		if strings.HasSuffix(name, "-bin") {
			continue
		}
		for _, v := range values {
			if strings.ContainsFunc(v, notInValue) {
				return false
			}
		}
	}
	return n <= maxCallHead
}

// atMost is how many bytes append adds at most.
func (h callHead) atMost() int {
	n := len(h.method) + 3*binary.MaxVarintLen64
	for name, values := range h.metadata {
		for _, v := range values {
			n += len(name) + len(v) + 2*binary.MaxVarintLen32
		}
	}
	return n
}

// notInName and notInValue tell what gRPC does not let into metadata
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
}

func notInValue(r rune) bool { return r < ' ' || r > '~' }

func parseCallHead(b []byte) (callHead, error) {
	p := newParser(b)
	h := callHead{method: p.text(), timeout: time.Duration(p.number()), metadata: p.metadata()}
	if !p.whole() || h.timeout < 0 || !strings.HasPrefix(h.method, "/") {
		return callHead{}, errMalformed
	}
	return h, nil
}

// answerHead is what goes with an answer.
type answerHead struct {
	status          []byte // a google.rpc.Status; empty: it went well
	header, trailer metadata.MD
}

func (h answerHead) append(b []byte) []byte {
	b = appendText(b, string(h.status))
	b = appendMetadata(b, h.header)
	return appendMetadata(b, h.trailer)
}

func parseAnswerHead(b []byte) (answerHead, error) {
	p := newParser(b)
	h := answerHead{status: []byte(p.text()), header: p.metadata(), trailer: p.metadata()}
	if !p.whole() {
		return answerHead{}, errMalformed
	}
	return h, nil
}

func parseHeaderHead(b []byte) (metadata.MD, error) {
	p := newParser(b)
	md := p.metadata()
	if !p.whole() {
		return nil, errMalformed
	}
	return md, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reserved are names that gRPC keeps for itself, and drops.
func reserved(name string) bool {
	return name == "" || name[0] == ':' || strings.HasPrefix(name, "grpc-")
}

func appendMetadata(b []byte, md metadata.MD) []byte {
	n := 0
	for name, values := range md {
		if !reserved(name) {
			n += len(values)
		}
	}
	b = binary.AppendUvarint(b, uint64(n))
	for name, values := range md {
		if reserved(name) {
			continue
		}
		for _, v := range values {
			b = appendText(appendText(b, strings.ToLower(name)), v)
		}
	}
	return b
}

// unexpected is an error about what came from the other side.
func unexpected(what string, err error) error { return fmt.Errorf("callwire: %s: %w", what, err) }
