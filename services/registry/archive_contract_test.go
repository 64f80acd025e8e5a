package registry_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// What no request could have made no archive brings.
func TestArchivesKeepTheContract(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m", Labels: map[string]string{"a": "b"}})
	fatal(t, err)
	_, err = r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1"), Metrics: map[string]float64{"acc": 0.5}})
	fatal(t, err)
	_, err = r.CreateVariant(ctx, &registryv1.CreateVariantRequest{Model: "m", Version: "1", Variant: "q8", Spec: spec("2")})
	fatal(t, err)
	exported, err := r.ExportModels(ctx, &registryv1.ExportModelsRequest{})
	fatal(t, err)
	good := exported.GetModels()[0]
	good.Model.Name = "other"
	for _, v := range good.GetVersions() {
		v.Model = "other"
		for _, variant := range v.GetVariants() {
			variant.Model = "other"
		}
	}
	for name, spoil := range map[string]func(*registryv1.ArchivedModel){
		"a card":          func(m *registryv1.ArchivedModel) { m.Model.Card = strings.Repeat("x", 65537) },
		"an owner":        func(m *registryv1.ArchivedModel) { m.Model.Owner = strings.Repeat("x", 257) },
		"a display name":  func(m *registryv1.ArchivedModel) { m.Model.DisplayName = strings.Repeat("x", 257) },
		"a label's name":  func(m *registryv1.ArchivedModel) { m.Model.Labels["B\x00"] = "" },
		"a label's value": func(m *registryv1.ArchivedModel) { m.Model.Labels["a"] = strings.Repeat("x", 257) },
		"a description":   func(m *registryv1.ArchivedModel) { m.Versions[0].Description = strings.Repeat("x", 4097) },
		"a metric":        func(m *registryv1.ArchivedModel) { m.Versions[0].Metrics["acc"] = math.NaN() },
		"a metric's name": func(m *registryv1.ArchivedModel) { m.Versions[0].Metrics[""] = 1 },
		"a version's time": func(m *registryv1.ArchivedModel) {
			m.Versions[0].CreateTime = &timestamppb.Timestamp{Seconds: math.MaxInt64}
		},
		"a variant's text": func(m *registryv1.ArchivedModel) { m.Versions[0].Variants[0].Description = strings.Repeat("x", 4097) },
		"many labels": func(m *registryv1.ArchivedModel) {
			for i := range 65 {
				m.Model.Labels[strconv.Itoa(i)] = ""
			}
		},
	} {
		bad := proto.CloneOf(good)
		spoil(bad)
		_, err := r.ImportModels(ctx, &registryv1.ImportModelsRequest{Models: []*registryv1.ArchivedModel{bad}})
		if apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = r.ImportModels(ctx, &registryv1.ImportModelsRequest{Models: []*registryv1.ArchivedModel{good}})
	fatal(t, err)
}
