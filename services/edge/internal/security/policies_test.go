package security

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/inproc"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/policy"
)

// policies returns a client of the edge's policies, behind its chain.
func (e edge) policies() edgev1.PolicyServiceClient {
	none := grpcserver.Interceptor{
		Name: "validate",
		Unary: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			return handler(ctx, req)
		},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return handler(srv, ss)
		},
	}
	chain := append(grpcserver.Chain{grpcserver.RequestID(ids.UUIDv7()), grpcserver.Errors()}, e.Chain(none)...)
	return edgev1.NewPolicyServiceClient(inproc.New(chain, func(r grpc.ServiceRegistrar) {
		edgev1.RegisterPolicyServiceServer(r, e.Policies)
	}))
}

func TestPoliciesOnTwoEdges(t *testing.T) { testPolicies(t, sqliteDSN(t)) }

// load judges requests on an edge until it is stopped, and notes every decision
// that does not fit the version by which it was made.
type load struct {
	wrong   sync.Map
	seen    sync.Map // versions, to when each was seen first
	stop    context.CancelFunc
	running sync.WaitGroup
}

func start(t *testing.T, e edge, want map[string]bool) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	caller := identity.NewCaller("acme", "ada", []string{"reader"}, nil)
	m := authz.Table()[edgev1.OpenAIService_CreateChatCompletion_FullMethodName]
	for i := range 4 {
		l.running.Go(func() {
			for ctx.Err() == nil {
				v, _ := e.deps.Authorizer.Judge(ctx, m, caller, &edgev1.CreateChatCompletionRequest{Model: "m" + strings.Repeat("x", i)})
				_, version, _ := strings.Cut(v.Policy, "+")
				if allowed, known := want[version]; !known || v.Allowed != allowed {
					l.wrong.Store(version, v.Allowed)
				}
				if _, there := l.seen.Load(version); !there {
					l.seen.Store(version, clock.Real().Now())
				}
				_ = clock.Sleep(ctx, clock.Real(), 200*time.Microsecond) // load, not starvation
			}
		})
	}
	return l
}

func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.running.Wait()
	l.wrong.Range(func(version, allowed any) bool {
		t.Errorf("by the policy %q it was allowed: %v", version, allowed)
		return true
	})
}

// waitFor waits until a version decides on an edge.
func (l *load) waitFor(t *testing.T, version string) time.Time {
	t.Helper()
	for {
		if v, ok := l.seen.Load(version); ok {
			if at, ok := v.(time.Time); ok {
				return at
			}
		}
		if err := clock.Sleep(t.Context(), clock.Real(), 5*time.Millisecond); err != nil {
			t.Fatalf("%s never decided: %v", version, err)
		}
	}
}

// testPolicies is the life of a policy on two edges over one database, under load.
func testPolicies(t *testing.T, dsn string) {
	t.Helper()
	one, two := open(t, dsn, nil), open(t, dsn, nil)
	root := as(t, one.root(t))
	client := one.policies()
	want := map[string]bool{"": true, "default@1": false, "default@2": true, "default@3": false}
	loads := []*load{start(t, one, want), start(t, two, want)}
	etag := ""
	for i, source := range []string{
		`rules: [{id: closed, subject: "role:reader", scope: any, type: model, action: chat, effect: deny}]`,
		`rules: [{id: other, subject: "role:reader", scope: any, type: model, resource: other, effect: deny}]`,
	} {
		resp, err := client.CreatePolicyVersion(root, &edgev1.CreatePolicyVersionRequest{Source: source, Activate: true, Etag: etag, Message: "why"})
		if err != nil {
			t.Fatal(err)
		}
		done := clock.Real().Now()
		if resp.GetVersion().GetVersion() != int64(i+1) || resp.GetVersion().GetAuthor() != "default/admin" {
			t.Errorf("made %v", resp.GetVersion())
		}
		etag = resp.GetEtag()
		for place, l := range loads {
			// Within the poll's interval; how long that takes depends on the machine.
			version := policy.Name("default", resp.GetVersion().GetVersion())
			t.Logf("edge %d decides by %s %v after it was put into force", place, version, l.waitFor(t, version).Sub(done))
		}
	}
	if _, err := client.ActivatePolicy(root, &edgev1.ActivatePolicyRequest{Version: 1, Etag: "1"}); apierr.ReasonOf(err) != apierr.Conflict {
		t.Errorf("an old etag: %v", err)
	}
	back, err := two.policies().RollbackPolicy(root, &edgev1.RollbackPolicyRequest{Version: 1, Etag: etag})
	if err != nil || back.GetVersion().GetVersion() != 3 {
		t.Fatalf("%v, %v", back, err)
	}
	for _, l := range loads {
		l.waitFor(t, "default@3")
		l.end(t)
	}
	list, err := two.policies().ListPolicyVersions(root, &edgev1.ListPolicyVersionsRequest{PageSize: 2})
	if err != nil || len(list.GetVersions()) != 2 || list.GetVersions()[0].GetVersion() != 3 || list.GetNextPageToken() == "" {
		t.Fatalf("%v, %v", list, err)
	}
	if v := list.GetVersions(); v[0].GetDigest() == v[1].GetDigest() {
		t.Error("two documents have one digest")
	}
	list, err = client.ListPolicyVersions(root, &edgev1.ListPolicyVersionsRequest{PageToken: list.GetNextPageToken()})
	if err != nil || len(list.GetVersions()) != 1 || list.GetVersions()[0].GetMessage() != "why" {
		t.Fatalf("%v, %v", list, err)
	}
}
