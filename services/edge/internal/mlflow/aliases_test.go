package mlflow

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// guarded is a registry in which every alias is protected.
type guarded struct{ crowded }

func (*guarded) SetAlias(context.Context, *registryv1.SetAliasRequest, ...grpc.CallOption) (*registryv1.SetAliasResponse, error) {
	return &registryv1.SetAliasResponse{Change: &registryv1.AliasChange{Id: "c7"}}, nil
}

func (*guarded) DeleteAlias(context.Context, *registryv1.DeleteAliasRequest, ...grpc.CallOption) (*registryv1.DeleteAliasResponse, error) {
	return &registryv1.DeleteAliasResponse{Change: &registryv1.AliasChange{Id: "c7"}}, nil
}

// MLflow's client is not told that an alias moved which waits for an approval.
func TestProtectedAliasesAreNoSuccess(t *testing.T) {
	s := New(&guarded{})
	_, set := s.SetRegisteredModelAlias(t.Context(), &edgev1.SetRegisteredModelAliasRequest{Name: "m", Alias: "production", Version: "2"})
	_, removed := s.DeleteRegisteredModelAlias(t.Context(), &edgev1.DeleteRegisteredModelAliasRequest{Name: "m", Alias: "production"})
	for what, err := range map[string]error{"set": set, "removed": removed} {
		if apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(apierr.From(err).Message, "c7") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
