package grpcserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/telemetry"
)

// One failure is one warning, of the service where it was: those that pass it on add none,
// and one that fails because of something smaller does.
func TestOneFailureIsOneWarning(t *testing.T) {
	engine, err := status.New(codes.Internal, "out of memory").WithDetails(&errdetails.ErrorInfo{Reason: "OOM", Domain: "engine.example"})
	if err != nil {
		t.Fatal(err)
	}
	var back, front func(context.Context) error
	behind := start(t, &service{unary: func(ctx context.Context) error { return back(ctx) }}, nil)
	before := start(t, &service{unary: func(ctx context.Context) error { return front(ctx) }}, nil)
	ask := func(ctx context.Context) error {
		_, err := behind.client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
		return err
	}
	fails := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	wraps := func(reason apierr.Reason) func(context.Context) error {
		return func(ctx context.Context) error {
			return apierr.Wrap(reason, fmt.Errorf("ask: %w", ask(ctx)), "it failed")
		}
	}
	for name, c := range map[string]struct {
		back, front         func(context.Context) error
		wantBack, wantFront string // levels
	}{
		"passed on":                 {fails(apierr.New(apierr.EngineFailed, "no")), ask, "WARN", ""},
		"passed on in other words":  {fails(apierr.New(apierr.EngineFailed, "no")), wraps(apierr.EngineFailed), "WARN", ""},
		"with another reason":       {fails(errors.New("no")), wraps(apierr.DeadlineExceeded), "WARN", ""},
		"of something smaller":      {fails(apierr.New(apierr.NotFound, "no")), wraps(apierr.Internal), "", "WARN"},
		"of a service that is busy": {fails(apierr.New(apierr.Overloaded, "no")), wraps(apierr.Internal), "INFO", "WARN"},
		"that is busy":              {fails(apierr.New(apierr.Overloaded, "no")), ask, "INFO", ""},
		"its own":                   {nil, fails(apierr.Wrap(apierr.EngineFailed, engine.Err(), "no")), "", "WARN"},
		"nobody answered":           {nil, fails(status.Error(codes.Unavailable, "connection refused")), "", "INFO"},
		"the caller's":              {nil, fails(apierr.New(apierr.NotFound, "no")), "", ""},
		"a panic":                   {nil, func(context.Context) error { panic("kaboom") }, "", "ERROR"},
		"a panic behind":            {func(context.Context) error { panic("kaboom") }, ask, "ERROR", ""},
	} {
		back, front = c.back, c.front
		ends := [2]int{len(behind.logs.String()), len(before.logs.String())}
		if _, err := before.client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err == nil {
			t.Errorf("%s: it did not fail", name)
		}
		for i, want := range []string{c.wantBack, c.wantFront} {
			said := []*fixture{behind, before}[i].logs.String()[ends[i]:]
			if got := strings.Count(said, `"level"`); got != min(1, len(want)) || !strings.Contains(said, want) {
				t.Errorf("%s: service %d says %q, want one line of %q", name, i, said, want)
			}
		}
	}
}

// That a service cannot be used yet is nothing to say of each look at it.
func TestProbesOfAServiceThatStartsAreQuiet(t *testing.T) {
	var logs syncBuffer
	tel, err := telemetry.New(t.Context(), "test", "v0", telemetry.DefaultConfig(""), telemetry.WithLogWriter(&logs))
	if err != nil {
		t.Fatal(err)
	}
	step, err := grpcserver.Telemetry(tel, clock.Real(), "/a.B/List")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method string
		reason apierr.Reason
		lines  int
	}{
		{"/a.B/List", apierr.Unavailable, 0}, {"/a.B/List", apierr.Internal, 1}, {"/a.B/Get", apierr.Unavailable, 1},
	} {
		before := len(logs.String())
		_, err := step.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: c.method}, func(context.Context, any) (any, error) {
			return nil, apierr.New(c.reason, "not now")
		})
		if said := logs.String()[before:]; err == nil || strings.Count(said, "\n") != c.lines {
			t.Errorf("%s, %s: %q", c.method, c.reason, said)
		}
	}
}
