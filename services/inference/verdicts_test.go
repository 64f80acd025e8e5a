package inference_test

import (
	"context"
	"io"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// told is a context that carries what the policy says of a model's versions.
func told(t *testing.T, model string, versions ...*inferencev1.VersionVerdict) context.Context {
	t.Helper()
	raw, err := proto.Marshal(&inferencev1.PolicyVerdicts{Models: []*inferencev1.ModelVerdict{{Model: model, Versions: versions}}})
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(caller(t), "poterne-policy-bin", string(raw))
}

// TestVerdicts: who comes to an arm that the policy denies is refused there, and not
// moved to another one.
func TestVerdicts(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("m", 2, fakes.Split("control", 1, 500_000), fakes.Split("canary", 2, 500_000)), fakes.Model("other", 1))
	m.awaitReady(t, "m@v1", 1)
	m.awaitReady(t, "m@v2", 1)
	ctx := told(t, "m", &inferencev1.VersionVerdict{Version: 1, Arm: "control", Allowed: true}, &inferencev1.VersionVerdict{Version: 2, Arm: "canary"})
	seen := map[bool]int{}
	for i := range 40 {
		req := chat("m", `{}`)
		req.RoutingKey = string(rune('a' + i))
		plain, err := m.client.Invoke(caller(t), req)
		if err != nil {
			t.Fatal(err)
		}
		denied := plain.GetServedBy().GetArm() == "canary"
		seen[denied]++
		resp, err := m.client.Invoke(ctx, req)
		if denied {
			wantReason(t, err, apierr.PermissionDenied, "")
		} else if err != nil || resp.GetServedBy().GetArm() != "control" {
			t.Fatalf("%v, %v", resp, err)
		}
		stream, err := m.client.InvokeStream(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); denied {
			wantReason(t, err, apierr.PermissionDenied, "")
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if !denied && err != io.EOF { //nolint:errorlint // of a stream
			t.Fatal(err)
		}
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Fatalf("the split sends all to one arm: %v", seen)
	}
	// A version of which nothing is said came after the policy was asked.
	_, err := m.client.Invoke(ctx, chat("m@v1", `{}`))
	wantReason(t, err, apierr.Unavailable, "")
	_, err = m.client.Invoke(told(t, "m"), chat("m", `{}`))
	wantReason(t, err, apierr.Unavailable, "")
	if _, err := m.client.Invoke(ctx, chat("other", `{}`)); err != nil {
		t.Errorf("a model of which nothing is said: %v", err)
	}
	_, err = m.client.Invoke(metadata.AppendToOutgoingContext(caller(t), "poterne-policy-bin", "\xff\xff"), chat("m", `{}`))
	wantReason(t, err, apierr.InvalidArgument, "")
}
