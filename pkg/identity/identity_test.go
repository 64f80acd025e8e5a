package identity_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
)

func alice() identity.Caller {
	return identity.Caller{
		Tenant: "acme", Subject: "alice", Principals: []string{"user:alice", "group:sales", "tenant:acme"},
		Roles: []string{"developer"}, KeyID: "k1",
	}
}

// teller answers with whom the context names.
type teller struct {
	grpc_testing.UnimplementedTestServiceServer
	got identity.Caller
	ok  bool
}

func (s *teller) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	s.got, s.ok = identity.FromContext(ctx)
	return &grpc_testing.SimpleResponse{}, nil
}

func (s *teller) StreamingOutputCall(_ *grpc_testing.StreamingOutputCallRequest, ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	s.got, s.ok = identity.FromContext(ss.Context())
	return ss.Send(&grpc_testing.StreamingOutputCallResponse{})
}

func connect(s *teller, required func(string) bool, opts ...grpcclient.Option) grpc_testing.TestServiceClient {
	tel := telemetry.Discard()
	conn := inproc.New(grpcserver.Chain{grpcserver.Recover(tel.Logger), identity.Server(identity.Plain(), required)},
		func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) })
	return grpc_testing.NewTestServiceClient(grpcclient.Intercept("test", conn, grpcclient.DefaultConfig(), tel, opts...))
}

func TestCallerTravels(t *testing.T) {
	s := &teller{}
	client := connect(s, nil, grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), identity.StreamClient(identity.Plain())))
	// What a handler copied from its own caller's metadata must not win.
	ctx := metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, "forged")
	ctx = identity.NewContext(ctx, alice())
	if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil || !reflect.DeepEqual(s.got, alice()) {
		t.Fatalf("unary: %+v, %v", s.got, err)
	}
	s.got = identity.Caller{}
	stream, err := client.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil || !reflect.DeepEqual(s.got, alice()) {
		t.Fatalf("stream: %+v, %v", s.got, err)
	}
	// Without a caller in the context nothing is passed on.
	ctx = metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, "forged")
	if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("without a caller: %v", err)
	}
	bad := alice()
	bad.Tenant = ""
	if _, err := client.UnaryCall(identity.NewContext(t.Context(), bad), &grpc_testing.SimpleRequest{}); apierr.ReasonOf(err) != apierr.Internal {
		t.Fatalf("a caller without a tenant: %v", err)
	}
}

func TestServerRefuses(t *testing.T) {
	good, err := identity.Plain().Encode(alice())
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string][]string{
		"none": nil, "two": {string(good), string(good)}, "garbage": {"x"}, "another version": {"\x02{}"},
		"no JSON": {"\x01{"}, "nobody": {"\x01{}"}, "empty": {""},
		"long":     {"\x01" + strings.Repeat(" ", identity.MaxEncoded)},
		"too many": {"\x01" + `{"t":"a","s":"b","p":[` + strings.Repeat(`"x",`, identity.MaxPrincipals) + `"x"]}`},
		"a name":   {"\x01" + `{"t":"a","s":"` + strings.Repeat("b", 300) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := &teller{}
			ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{identity.MetadataKey: values})
			_, err := connect(s, nil).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			if apierr.ReasonOf(err) != apierr.Unauthenticated || s.ok {
				t.Fatalf("let in: %v", err)
			}
		})
	}
	s := &teller{}
	client := connect(s, func(m string) bool { return m != grpc_testing.TestService_UnaryCall_FullMethodName })
	if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil || s.ok {
		t.Fatalf("a method that requires nobody: %v", err)
	}
}

func TestMatching(t *testing.T) {
	c := alice()
	if !c.HasPrincipal("group:sales") || !c.HasPrincipal(identity.Public) || c.HasPrincipal("group:hr") || !c.HasRole("developer") || c.HasRole("admin") {
		t.Fatalf("%+v", c)
	}
}

func FuzzPlainDecode(f *testing.F) {
	good, err := identity.Plain().Encode(alice())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("\x01{}"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := identity.Plain().Decode(data)
		if err != nil {
			return
		}
		if c.Tenant == "" || c.Subject == "" || len(c.Principals) > identity.MaxPrincipals {
			t.Fatalf("accepted %+v", c)
		}
	})
}
