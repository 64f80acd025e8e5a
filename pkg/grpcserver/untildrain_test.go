package grpcserver_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

// A client that watches health, or keeps reflection open, must not hold the end
// of the process up.
func TestStreamsAboutTheServerEndWithTheDrain(t *testing.T) {
	f := start(t, &service{}, nil)
	watch, err := grpc_health_v1.NewHealthClient(f.conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	reflected, err := grpc_reflection_v1.NewServerReflectionClient(f.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := &grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}
	if err := reflected.Send(list); err != nil {
		t.Fatal(err)
	}
	if _, err := reflected.Recv(); err != nil {
		t.Fatal(err)
	}
	// The drain may take 2 s here, and fails when it takes longer.
	if err := f.end(); err != nil {
		t.Errorf("the end: %v", err)
	}
	if _, err := reflected.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("reflection ended with %v", err)
	}
	for err == nil {
		_, err = watch.Recv() // a last state may come before the end
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
}
