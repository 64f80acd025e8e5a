package callwire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// played is a connection on which what was given comes, and then nothing more.
type played struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (p *played) Read(b []byte) (int, error)       { return p.in.Read(b) }
func (p *played) Write(b []byte) (int, error)      { return p.out.Write(b) }
func (p *played) Close() error                     { return nil }
func (p *played) SetDeadline(time.Time) error      { return nil }
func (p *played) SetReadDeadline(time.Time) error  { return nil }
func (p *played) SetWriteDeadline(time.Time) error { return nil }
func (p *played) LocalAddr() net.Addr              { return new(net.TCPAddr) }
func (p *played) RemoteAddr() net.Addr             { return new(net.TCPAddr) }

func frame(t interface{ Fatal(...any) }, b []byte, kind byte, head func([]byte) []byte, m *testpb.StreamingOutputCallResponse) []byte {
	var err error
	if m == nil {
		b, err = appendFrame(b, kind, head, nil)
	} else {
		b, err = appendFrame(b, kind, head, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzStreamAnswers: whatever a server says, its client comes to an end, with a status, has
// taken no more memory than came, and says no second end.
func FuzzStreamAnswers(f *testing.F) {
	header := func(b []byte) []byte { return appendMetadata(b, metadata.MD{"k": {"v"}}) }
	good := frame(f, nil, kindHeader, header, nil)
	good = frame(f, good, kindMessage, nil, &testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 100)}})
	good = append(good, ping...)
	good = frame(f, good, kindMessage, nil, &testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 9000)}})
	f.Add(frame(f, bytes.Clone(good), kindAnswer, answerHead{trailer: metadata.MD{"t": {"1"}}}.append, nil))
	f.Add(frame(f, bytes.Clone(good), kindAnswer, answerHead{status: []byte("\x08\x05\x12\x01x")}.append, nil))
	f.Add(good[:len(good)-3])
	f.Add(frame(f, nil, kindBye, nil, nil))
	f.Add([]byte("M\x00\x00\x00\x00\x7f\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := NewPool(PoolOptions{Streams: true, MaxRecvBytes: 1 << 20})
		defer p.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		conn := &played{in: bytes.NewReader(b)}
		told, elsewhere := 0, false
		s := &clientStream{
			Stream: Stream{Method: "/a.B/C", Done: func(error) { told++ }, Ordinary: func() (grpc.ClientStream, error) {
				elsewhere = true
				return nil, status.Error(codes.Aborted, "elsewhere")
			}},
			pool: p, ctx: ctx, wishes: wishes{maxRecv: 1 << 20, maxSend: MaxMessage}, conn: newClientConn("x", conn, conn, p.ahead),
		}
		s.unhook = context.AfterFunc(ctx, s.given)
		if err := s.SendMsg(new(testpb.StreamingOutputCallRequest)); err != nil {
			t.Fatal(err)
		}
		if len(b)%2 == 0 {
			_, _ = s.Header()
		}
		var err error
		for taken := 0; err == nil; taken += prefixBytes {
			if err = s.RecvMsg(new(testpb.StreamingOutputCallResponse)); taken > len(b) {
				t.Fatal("more messages than there were")
			}
		}
		if _, ok := status.FromError(err); !ok && !errors.Is(err, io.EOF) {
			t.Errorf("it ends with %v", err)
		}
		if again := s.RecvMsg(new(testpb.StreamingOutputCallResponse)); !errors.Is(again, err) && again.Error() != err.Error() {
			t.Errorf("it ends with %v, and then with %v", err, again)
		}
		if (told == 1) == elsewhere {
			t.Errorf("told %d times, elsewhere: %v", told, elsewhere)
		}
	})
}

// FuzzStreamRequests: whatever a client says, the server answers each stream that it begins
// with one status, in frames that its client reads, and comes to an end.
func FuzzStreamRequests(f *testing.F) {
	call := callHead{method: "/grpc.testing.TestService/StreamingOutputCall", timeout: time.Minute, metadata: metadata.MD{"k": {"v"}}}
	good := frame(f, nil, kindStream, call.append, nil)
	f.Add(bytes.Repeat(good, 3))
	f.Add(append(append(bytes.Clone(good), ping...), good[:20]...))
	f.Add(frame(f, bytes.Clone(good), kindCall, callHead{method: "/a.B/C"}.append, nil))
	f.Add([]byte("S\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		began := 0
		s := NewServer(ServerOptions{
			Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
				began++
				return handler(srv, ss)
			},
			MaxRecvBytes: 1 << 20, MaxSendBytes: 1 << 20, MaxHeadBytes: maxHead, MaxConnections: 1,
			Idle: time.Minute, Receive: time.Minute, Send: time.Minute,
		})
		defer s.Stop()
		s.streams["/grpc.testing.TestService/StreamingOutputCall"] = streaming{handler: func(_ any, ss grpc.ServerStream) error {
			if err := ss.RecvMsg(new(testpb.StreamingOutputCallRequest)); err != nil {
				return err
			}
			More(ss.Context())
			return ss.SendMsg(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: []byte("x")}})
		}}
		conn := &played{in: bytes.NewReader(b)}
		newServerConn(s, conn, nil, streamPreface).run()
		said, ok := strings.CutPrefix(conn.out.String(), streamPreface)
		if !ok {
			t.Fatalf("it began with %q", conn.out.String())
		}
		ends, r := 0, reader(strings.NewReader(said))
		for {
			p, err := readPrefix(r, answers, 1<<20)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in %q", err, said)
			}
			if p.kind == kindAnswer {
				ends++
			}
			if _, err := r.Discard(p.head + p.message); err != nil {
				t.Fatalf("%v in %q", err, said)
			}
		}
		if ends < began {
			t.Errorf("%d streams and %d ends", began, ends)
		}
	})
}
