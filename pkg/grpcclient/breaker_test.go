package grpcclient_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
)

// A service that says that something behind it is away has answered: whoever
// asks it for something else must still get through.
func TestAnAnswerNeverOpensTheBreaker(t *testing.T) {
	answer := func(_ context.Context, n int64) error {
		if n%20 == 0 {
			return nil // the light user of another model
		}
		return apierr.New(apierr.Unavailable, "no worker is ready to serve heavy@v1; try again")
	}
	cfg := grpcclient.DefaultConfig()
	cfg.Retry.MaxAttempts = 1
	near := &backend{unary: answer}
	tel := telemetry.Discard()
	for name, client := range map[string]grpc_testing.TestServiceClient{
		"network": dial(t, cfg, []*backend{serve(t, &backend{unary: answer})}),
		"process": grpc_testing.NewTestServiceClient(grpcclient.Intercept("x",
			inproc.New(grpcserver.Chain{grpcserver.Recover(tel.Logger)}, func(r grpc.ServiceRegistrar) {
				grpc_testing.RegisterTestServiceServer(r, near)
			}), cfg, tel)),
	} {
		served := 0
		for range 400 {
			if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err == nil {
				served++
			}
		}
		if served != 20 {
			t.Errorf("%s: %d of the 20 calls that the service would serve were let through", name, served)
		}
	}
}

func TestABackendThatIsNotThereOpensTheBreaker(t *testing.T) {
	gone := serve(t, &backend{unary: func(context.Context, int64) error { return nil }})
	gone.server.Stop()
	cfg := grpcclient.DefaultConfig()
	client := dial(t, cfg, []*backend{gone})
	var err error
	for range cfg.Breaker.MinCalls + 1 {
		_, err = client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
	}
	if e := apierr.From(err); e.Reason != apierr.Unavailable || e.RetryAfter != cfg.Breaker.OpenFor {
		t.Fatalf("after %d calls to a closed port: %v, want an open breaker", cfg.Breaker.MinCalls, err)
	}
}

func TestUnreached(t *testing.T) {
	answered := apierr.New(apierr.Unavailable, "no worker").GRPCStatus().Err()
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                {nil, false},
		"a connection":           {status.Error(codes.Unavailable, "connection refused"), true},
		"an answer":              {answered, false},
		"an answer of one's own": {apierr.New(apierr.Unavailable, "no worker"), false},
		"an overload":            {apierr.New(apierr.Overloaded, "busy").GRPCStatus().Err(), false},
		"another code":           {status.Error(codes.Internal, "broken"), false},
		"a deadline":             {context.DeadlineExceeded, false},
	} {
		if got := grpcclient.Unreached(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
