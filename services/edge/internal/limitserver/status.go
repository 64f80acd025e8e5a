package limitserver

import (
	"cmp"
	"context"
	"net/netip"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
)

// GetLimitStatus implements edgev1.LimitServiceServer.
func (s *Server) GetLimitStatus(ctx context.Context, req *edgev1.GetLimitStatusRequest) (*edgev1.GetLimitStatusResponse, error) {
	c, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	f := limitrule.Facts{
		Tenant: tenant, KeyID: req.GetKeyId(), Subject: req.GetSubject(), User: req.GetUser(), Model: req.GetModel(), Method: req.GetMethod(),
	}
	if f.KeyID == "" && f.Subject == "" && tenant == c.Tenant {
		f.KeyID, f.Subject = c.KeyID, c.Subject
	}
	if f.Method == "" {
		f.Method = edgev1.OpenAIService_CreateChatCompletion_FullMethodName
	}
	class, served := s.Classes[f.Method]
	if !served {
		return nil, apierr.Invalid("method", "method must be a full gRPC method of the gateway, such as %s", edgev1.OpenAIService_CreateChatCompletion_FullMethodName)
	}
	f.Class = class
	if a := req.GetAddress(); a != "" {
		addr, err := netip.ParseAddr(a)
		if err != nil || addr.Zone() != "" {
			return nil, apierr.Invalid("address", "address must be an IP address")
		}
		f.Address = clientaddr.Network(addr.Unmap())
	}
	perMinute, known, err := s.PerMinute(ctx, tenant, f.KeyID)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, apierr.New(apierr.NotFound, "the tenant has no such API key").WithField("key_id")
	}
	f.PerMinute = perMinute
	states, err := s.Engine.Status(ctx, &f, c.Tenant == s.Platform)
	if err != nil {
		return nil, apierr.Wrap(apierr.Unavailable, err, "what is left cannot be asked now").WithRetryAfter(storeRetry)
	}
	out := new(edgev1.GetLimitStatusResponse)
	for _, st := range states {
		out.Limits = append(out.Limits, s.state(st))
	}
	for _, m := range s.Engine.Misses(&f, c.Tenant == s.Platform) {
		out.Misses = append(out.Misses, &edgev1.LimitMiss{Name: m.Name, Tenant: cmp.Or(m.Tenant, s.Platform), Reason: m.Reason})
	}
	return out, nil
}

func (s *Server) state(st limitrule.State) *edgev1.LimitState {
	m := &edgev1.LimitState{
		Name: st.Name, Tenant: st.Tenant, Kind: kindOf(st.Kind), Amount: int64(st.Limit.Amount), Burst: int64(st.Limit.AtOnce()),
		Remaining: int64(st.Remaining), Local: st.Local,
	}
	if m.GetTenant() == "" {
		m.Tenant = s.Platform
	}
	for _, d := range st.By {
		m.By = append(m.By, string(d))
	}
	if st.Kind != limitrule.Concurrent {
		m.Period, m.ResetAfter = durationpb.New(st.Limit.Period), durationpb.New(st.ResetAfter)
	}
	return m
}
