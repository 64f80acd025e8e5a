package authz

import (
	"testing"

	oip "github.com/poterne/poterne/proto/gen/inference"
)

// TestTensorModelIsItsName: rules name models, whatever field the protocol has
// the reference in.
func TestTensorModelIsItsName(t *testing.T) {
	table := Table()
	for method, req := range map[string]any{
		oip.GRPCInferenceService_ModelInfer_FullMethodName:    &oip.ModelInferRequest{ModelName: "m@v3"},
		oip.GRPCInferenceService_ModelReady_FullMethodName:    &oip.ModelReadyRequest{Name: "m@stable"},
		oip.GRPCInferenceService_ModelMetadata_FullMethodName: &oip.ModelMetadataRequest{Name: "m"},
	} {
		if got := table[method].ID(req); got != "m" {
			t.Errorf("%s is about %q", method, got)
		}
	}
}
