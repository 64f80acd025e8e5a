package callwire_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/callwire"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/devca"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

// What a handler and a caller see of a call must be the same on both ways.
func TestACallIsAnOrdinaryCall(t *testing.T) {
	s := &service{unary: func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		name, _ := grpc.Method(ctx)
		end, ok := ctx.Deadline()
		p, _ := peer.FromContext(ctx)
		host, _, _ := net.SplitHostPort(p.Addr.String())
		_ = grpc.SetTrailer(ctx, metadata.Pairs("deadline", fmt.Sprint(ok && time.Until(end) > time.Minute), "host", host, "auth", p.AuthInfo.AuthType()))
		_ = grpc.SetHeader(ctx, metadata.MD{"method": {name}, "got-bin": md["x-bin"], "got": md["x"], "none": md["grpc-none"]})
		if req.GetFillUsername() {
			st, _ := status.New(codes.FailedPrecondition, "not so").WithDetails(&errdetails.ErrorInfo{Reason: "R", Domain: "d"})
			return nil, st.Err()
		}
		if req.GetFillOauthScope() {
			return nil, context.DeadlineExceeded
		}
		return echo(ctx, req)
	}}
	n := serve(t, s, plain())
	conn, err := grpc.NewClient(n.addr, grpc.WithTransportCredentials(plain()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := pool(t, plain(), 4)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x", "1", "X", "2", "x-bin", "\x00\xff")
	type seen struct {
		body            []byte
		header, trailer map[string][]string
		err             string
	}
	for name, req := range map[string]*testpb.SimpleRequest{
		"an answer": payload(100), "a large one": payload(200 << 10), "none": {},
		"a status": {FillUsername: true}, "an error of a context": {FillOauthScope: true},
	} {
		look := func(call func(opts ...grpc.CallOption) (*testpb.SimpleResponse, error)) seen {
			var header, trailer metadata.MD
			resp, err := call(grpc.Header(&header), grpc.Trailer(&trailer))
			delete(header, "content-type")
			delete(trailer, "content-type")
			delete(trailer, "grpc-status-details-bin") // they are in the status
			out := seen{body: resp.GetPayload().GetBody(), header: header, trailer: trailer, err: fmt.Sprint(status.Convert(err).Proto())}
			if err != nil { // gRPC tells both with the trailer then
				out.header, out.trailer = nil, maps.Clone(header)
				maps.Copy(out.trailer, trailer)
			}
			return out
		}
		ordinary := look(func(opts ...grpc.CallOption) (*testpb.SimpleResponse, error) {
			return testpb.NewTestServiceClient(conn).UnaryCall(ctx, req, opts...)
		})
		direct := look(func(opts ...grpc.CallOption) (*testpb.SimpleResponse, error) {
			return carried(t, p, n.addr, ctx, req, opts...)
		})
		if !bytes.Equal(ordinary.body, direct.body) {
			t.Errorf("%s: bodies of %d and %d bytes", name, len(ordinary.body), len(direct.body))
		}
		ordinary.body, direct.body = nil, nil
		if !reflect.DeepEqual(ordinary, direct) {
			t.Errorf("%s:\nordinary %+v\ndirect   %+v", name, ordinary, direct)
		}
	}
}

// The certificates of both sides are looked at, and the handler sees the client's.
func TestCertificatesAreThoseOfOrdinaryCalls(t *testing.T) {
	ca, err := devca.New("test")
	if err != nil {
		t.Fatal(err)
	}
	section := func(of *devca.Authority, id string) tlsfiles.Config {
		dir := t.TempDir()
		if err := of.WriteFiles(dir, []string{id}); err != nil {
			t.Fatal(err)
		}
		c := tlsfiles.DefaultConfig()
		c.Mode, c.CertFile, c.KeyFile, c.CAFile = tlsfiles.ModeRequire, filepath.Join(dir, devca.CertFile), filepath.Join(dir, devca.KeyFile), filepath.Join(dir, devca.CAFile)
		c.AllowedIDs = []string{"spiffe://test/a", "spiffe://test/b"}
		return c
	}
	o := tlsfiles.Options{Name: "test", Clock: clock.Real(), Telemetry: telemetry.Discard()}
	server, err := section(ca, "spiffe://test/a").Server(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		p, _ := peer.FromContext(ctx)
		return &testpb.SimpleResponse{Username: p.AuthInfo.AuthType()}, nil
	}}
	n := serve(t, s, server)
	good, err := section(ca, "spiffe://test/b").Client(o)
	if err != nil {
		t.Fatal(err)
	}
	p := pool(t, good, 2)
	for range 3 {
		resp, err := carried(t, p, n.addr, t.Context(), payload(20000))
		if err != nil || resp.GetUsername() != "tls" {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	other, err := devca.New("other")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := section(other, "spiffe://test/b").Client(o)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]credentials.TransportCredentials{"a stranger": stranger, "one without a certificate": plain()} {
		p, before := pool(t, c, 2), s.calls.Load()
		for range 50 {
			if ok, _ := p.Call(t.Context(), n.addr, method, payload(1), new(testpb.SimpleResponse), nil); ok {
				t.Fatalf("%s was let in", name)
			}
			<-time.After(2 * time.Millisecond)
		}
		if s.calls.Load() != before {
			t.Errorf("%s got to the handler", name)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	n := serve(t, &service{unary: echo}, plain())
	p := pool(t, plain(), 8)
	if _, err := carried(t, p, n.addr, t.Context(), payload(1)); err != nil { // there is a connection now
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var ways []bool
	for i := range 16 {
		wg.Go(func() {
			for j := range 200 {
				want := bytes.Repeat([]byte{byte(i), byte(j)}, 1+(i*j)%9000)
				resp := new(testpb.SimpleResponse)
				ok, err := p.Call(t.Context(), n.addr, method, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: want}}, resp, nil)
				if ok && (err != nil || !bytes.Equal(resp.GetPayload().GetBody(), want)) {
					t.Errorf("another's answer: %v", err)
				}
				mu.Lock()
				ways = append(ways, ok)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if !slices.Contains(ways, true) {
		t.Error("no call was carried")
	}
}

func TestWhatDoesNotGoThisWay(t *testing.T) {
	s := &service{unary: echo}
	n := serve(t, s, plain(), func(o *callwire.ServerOptions) { o.MaxSendBytes = 1000 })
	p := pool(t, plain(), 2)
	if _, err := carried(t, p, n.addr, t.Context(), payload(1)); err != nil {
		t.Fatal(err)
	}
	before := s.calls.Load()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, try := range map[string]func() (bool, error){
		"a large request": func() (bool, error) {
			return p.Call(t.Context(), n.addr, method, payload(256<<10), new(testpb.SimpleResponse), nil)
		},
		"large metadata": func() (bool, error) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "k", string(make([]byte, 20<<10)))
			return p.Call(ctx, n.addr, method, payload(1), new(testpb.SimpleResponse), nil)
		},
		"metadata that gRPC refuses": func() (bool, error) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "k", "é")
			return p.Call(ctx, n.addr, method, payload(1), new(testpb.SimpleResponse), nil)
		},
		"an option that is not known": func() (bool, error) {
			return p.Call(t.Context(), n.addr, method, payload(1), new(testpb.SimpleResponse), []grpc.CallOption{grpc.UseCompressor("gzip")})
		},
		"a context that has ended": func() (bool, error) {
			return p.Call(over, n.addr, method, payload(1), new(testpb.SimpleResponse), nil)
		},
	} {
		if ok, err := try(); ok || err != nil {
			t.Errorf("%s was carried: %v", name, err)
		}
	}
	if s.calls.Load() != before {
		t.Error("one of them got to the handler")
	}
	for name, opts := range map[string][]grpc.CallOption{"the server's bound": nil, "the client's": {grpc.MaxCallRecvMsgSize(100)}} {
		if _, err := carried(t, p, n.addr, t.Context(), payload(2000), opts...); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("an answer above %s: %v", name, err)
		}
	}
	if _, err := carried(t, p, n.addr, t.Context(), payload(1)); err != nil {
		t.Errorf("a call after them: %v", err)
	}
	var resp testpb.SimpleResponse
	if ok, err := p.Call(t.Context(), n.addr, "/grpc.testing.TestService/Nothing", payload(1), &resp, nil); !ok || status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v, %v", ok, err)
	}
}

// A server that does not know these calls is asked in the ordinary way.
func TestAnOldServer(t *testing.T) {
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{unary: echo}
	old := grpc.NewServer()
	testpb.RegisterTestServiceServer(old, s)
	go func() { _ = old.Serve(lis) }()
	defer old.Stop()
	p := pool(t, plain(), 2)
	for range 100 {
		if ok, _ := p.Call(t.Context(), lis.Addr().String(), method, payload(1), new(testpb.SimpleResponse), nil); ok {
			t.Fatal("a call was carried")
		}
		<-time.After(time.Millisecond)
	}
	if s.calls.Load() != 0 {
		t.Error("a call got to the handler")
	}
}
