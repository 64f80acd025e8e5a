package server

import (
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// checkContract holds a model of an archive to what the contract says of the
// requests by which it would have been made: what is read has no rules of its own.
func (s *Server) checkContract(a *registryv1.ArchivedModel) error {
	m := a.GetModel()
	would := []proto.Message{&registryv1.CreateModelRequest{
		Name: m.GetName(), DisplayName: m.GetDisplayName(), Labels: m.GetLabels(), Task: m.GetTask(), Tenant: m.GetTenant(),
		Owner: m.GetOwner(), Card: m.GetCard(), Licence: m.GetLicence(),
	}}
	times := []*timestamppb.Timestamp{m.GetCreateTime()}
	for _, v := range a.GetVersions() {
		would = append(would, &registryv1.CreateVersionRequest{
			Model: m.GetName(), Spec: v.GetSpec(), Description: v.GetDescription(), Lineage: v.GetLineage(), Metrics: v.GetMetrics(),
			IoSchema: v.GetIoSchema(), Licence: v.GetLicence(), Labels: v.GetLabels(),
		})
		times = append(times, v.GetCreateTime())
		for _, variant := range v.GetVariants() {
			would = append(would, &registryv1.CreateVariantRequest{
				Model: m.GetName(), Version: strconv.Itoa(int(v.GetNumber())), Variant: variant.GetName(), Spec: variant.GetSpec(),
				Quality: variant.GetQuality(), Description: variant.GetDescription(),
			})
			times = append(times, variant.GetCreateTime())
		}
	}
	for _, req := range would {
		if err := s.opts.Validator.Validate(req); err != nil {
			return apierr.Wrap(apierr.InvalidArgument, err, "the model %.128q could not have been made as it is: %s", m.GetName(), apierr.From(err).Message).
				WithField("models")
		}
	}
	for _, at := range times {
		if at != nil && at.CheckValid() != nil {
			return apierr.Invalid("models", "the model %q has a time that is none", m.GetName())
		}
	}
	return nil
}
