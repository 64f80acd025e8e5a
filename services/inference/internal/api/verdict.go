package api

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
)

// verdictsKey is the metadata in which the gateway tells what its policy says of
// versions: inferencev1.PolicyVerdicts.
const verdictsKey = "poterne-policy-bin"

// changedRetry is when to ask again after the model changed while the policy was asked.
const changedRetry = time.Second

// admit holds what was decided to what the policy says of it. A version that it denies
// answers nobody, and neither does another one in its place: who falls into an arm
// stays there. Copies are made only for versions that may have them.
func admit(ctx context.Context, t *catalog.Target) error {
	values := metadata.ValueFromIncomingContext(ctx, verdictsKey)
	if len(values) == 0 {
		return nil
	}
	var all inferencev1.PolicyVerdicts
	if len(values) > 1 || proto.Unmarshal([]byte(values[0]), &all) != nil {
		return apierr.New(apierr.InvalidArgument, "what the policy says of the model's versions cannot be read")
	}
	for _, m := range all.GetModels() {
		if m.GetModel() == t.Version.Model {
			return admitOne(m, t)
		}
	}
	return nil
}

func admitOne(m *inferencev1.ModelVerdict, t *catalog.Target) error {
	if t.Shadow != nil && !copies(m, t.Shadow) {
		t.Shadow = nil
	}
	for _, v := range m.GetVersions() {
		if v.GetShadow() || v.GetVersion() != t.Version.Number || v.GetArm() != t.Arm || v.GetExperiment() != t.Experiment {
			continue
		}
		if v.GetAllowed() {
			return nil
		}
		return apierr.New(apierr.PermissionDenied, "the policy does not let you have the version of the model %q that your request comes to", m.GetModel()).
			WithMetadata("model", t.Version.Model).WithMetadata("resource_type", "model")
	}
	return apierr.New(apierr.Unavailable, "the model %q changed while the policy was asked about it; try again", m.GetModel()).WithRetryAfter(changedRetry)
}

// copies reports whether the shadow may get copies of the request.
func copies(m *inferencev1.ModelVerdict, s *catalog.Shadow) bool {
	for _, v := range m.GetVersions() {
		if v.GetShadow() && v.GetVersion() == s.Version.Number && v.GetExperiment() == s.Experiment {
			return v.GetAllowed()
		}
	}
	return false
}
