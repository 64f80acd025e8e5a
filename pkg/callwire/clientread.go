package callwire

import (
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// answers are the frames of a stream.
const answers = string(kindMessage) + string(kindAnswer) + string(kindHeader) + string(kindPing)

// next reads a frame; got is true when it was a message, which m has then. Frames change
// what is known of the stream. An error is its end.
func (s *clientStream) next(m any) (got bool, err error) {
	p, err := readPrefix(s.conn.r, answers, s.wishes.maxRecv)
	switch {
	case err == errTooLarge && p.message > s.wishes.maxRecv: //nolint:errorlint // it is never wrapped
		return false, s.end(false, status.Errorf(codes.ResourceExhausted, "callwire: the answer has %d bytes, more than %d", p.message, s.wishes.maxRecv))
	case err != nil:
		return false, s.fail(err)
	case p.kind == kindBye && s.request != nil: // nothing has begun
		s.leave(false)
		s.elsewhere()
		return false, nil
	case p.kind == kindPing && p.head+p.message == 0:
		return false, nil
	case p.kind == kindBye || p.kind == kindPing:
		return false, s.fail(errMalformed)
	}
	s.request = nil
	switch p.kind {
	case kindMessage:
		return s.message(p, m)
	case kindHeader:
		err = s.take(p, func(b []byte) (err error) { s.header, err = parseHeaderHead(b); return err })
	default:
		return false, s.final(p)
	}
	if err != nil {
		return false, s.fail(err)
	}
	return false, nil
}

// take gives the head of a frame without a message to use.
func (s *clientStream) take(p prefix, use func([]byte) error) error {
	if p.message != 0 {
		return errMalformed
	}
	return take(s.conn.r, p.head, use)
}

func (s *clientStream) message(p prefix, m any) (bool, error) {
	out, ok := m.(proto.Message)
	if p.head != 0 || !ok {
		return false, s.fail(errMalformed)
	}
	if s.header == nil {
		s.header = metadata.MD{} // it was empty
	}
	unread := false
	err := s.conn.read(p.message, s.pool.messages, func(b []byte) error {
		err := proto.Unmarshal(b, out)
		unread = err != nil
		return err
	})
	switch {
	case unread:
		return false, s.end(false, status.Errorf(codes.Internal, "callwire: the answer cannot be read: %v", err))
	case err != nil:
		return false, s.fail(err)
	}
	// The end that has come already is taken now: who knows from the message that it is
	// the last one need not receive it for the connection to be used again.
	if n := s.conn.r.Buffered(); n >= prefixBytes {
		b, _ := s.conn.r.Peek(n)
		if p := prefixOf(b); p.kind == kindAnswer && p.head <= n-prefixBytes {
			_, _ = s.next(nil)
		}
	}
	return true, nil
}

// final reads the status.
func (s *clientStream) final(p prefix) error {
	var got answerHead
	if err := s.take(p, func(b []byte) (err error) { got, err = parseAnswerHead(b); return err }); err != nil {
		return s.fail(err)
	}
	if s.header == nil {
		s.header = got.header
	}
	s.trailer = got.trailer
	err := statusErr(got.status)
	if err == nil {
		err = io.EOF
	}
	return s.end(true, err)
}

// fail ends a stream whose connection said nothing good.
func (s *clientStream) fail(err error) error {
	if s.ctx.Err() != nil {
		err = status.FromContextError(s.ctx.Err()).Err()
	} else {
		err = status.Errorf(codes.Unavailable, "callwire: the connection ended before the stream: %v", err)
	}
	return s.end(false, err)
}

func (s *clientStream) end(usable bool, err error) error {
	if s.ended {
		return s.err
	}
	s.leave(usable && !s.cut)
	s.ended, s.err, s.request = true, err, nil
	s.wishes.fulfil(answerHead{header: s.header, trailer: s.trailer})
	if err == io.EOF { //nolint:errorlint // it is never wrapped
		err = nil
	}
	s.tell(err)
	return s.err
}

// peek waits for the kind of the next frame.
func (s *clientStream) peek() (byte, error) {
	for {
		b, err := s.conn.r.Peek(prefixBytes)
		if err != nil {
			return 0, err
		}
		if b[0] != kindPing {
			return b[0], nil
		}
		if _, err := s.next(nil); err != nil {
			return 0, err
		}
	}
}
