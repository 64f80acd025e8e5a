package grpcserver_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/requestid"
)

// What is not offered is no failure, and every service that a call passes says it.
func TestWhatIsNotOfferedIsNoWarning(t *testing.T) {
	f := start(t, &service{unary: func(context.Context) error { return apierr.New(apierr.Unimplemented, "no such thing here") }}, nil)
	if _, err := f.client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); status.Code(err) != codes.Unimplemented {
		t.Fatal(err)
	}
	if err := f.end(); err != nil {
		t.Fatal(err)
	}
	if logs := f.logs.String(); !strings.Contains(logs, "no such thing here") || strings.Contains(logs, "WARN") {
		t.Errorf("logged: %s", logs)
	}
}

// Who wants only what is kept, and is told that nothing is, was refused: nothing failed.
func TestWhatIsNotKeptIsNoWarning(t *testing.T) {
	f := start(t, &service{unary: func(context.Context) error { return apierr.New(apierr.NotCached, "nothing is kept") }}, nil)
	if _, err := f.client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Fatal(err)
	}
	if err := f.end(); err != nil {
		t.Fatal(err)
	}
	if logs := f.logs.String(); strings.Contains(logs, "nothing is kept") {
		t.Errorf("logged: %s", logs)
	}
}

func TestUnknownMethodsAreRefusedInTheUsualShape(t *testing.T) {
	f := start(t, &service{}, nil)
	for _, method := range []string{"/grpc.testing.TestService/Nope", "/no.such.Service/Nope", "/x/" + strings.Repeat("y", 500)} {
		var trailer metadata.MD
		err := f.conn.Invoke(t.Context(), method, &grpc_testing.SimpleRequest{}, &grpc_testing.SimpleResponse{}, grpc.Trailer(&trailer))
		s := status.Convert(err)
		e := apierr.From(err)
		ids := trailer.Get(requestid.MetadataKey)
		if s.Code() != codes.Unimplemented || e.Reason != apierr.Unimplemented || len(ids) != 1 || e.RequestID() != ids[0] {
			t.Errorf("%.40s: %v, details %v, trailer %v", method, s.Code(), s.Details(), trailer)
		}
		if len(s.Message()) > 200 {
			t.Errorf("%.40s: the name is repeated whole: %d bytes", method, len(s.Message()))
		}
	}
	if strings.Contains(f.logs.String(), "no.such.Service") {
		t.Error("a stranger's method reached the access log's labels")
	}
}
