package server

import (
	"context"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/standardwebhook"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/webhook"
)

// CreateWebhook implements registryv1.RegistryServiceServer.
func (s *Server) CreateWebhook(ctx context.Context, req *registryv1.CreateWebhookRequest) (*registryv1.CreateWebhookResponse, error) {
	if _, err := standardwebhook.ParseSecret(req.GetSecret()); err != nil {
		return nil, err
	}
	if err := webhook.CheckURL(req.GetUrl()); err != nil {
		return nil, err
	}
	w, err := s.store.CreateWebhook(ctx, &registryv1.Webhook{
		Name: req.GetName(), Url: req.GetUrl(), Events: req.GetEvents(), Models: req.GetModels(), Active: !req.GetInactive(),
	}, req.GetSecret())
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateWebhookResponse{Webhook: w}, nil
}

// GetWebhook implements registryv1.RegistryServiceServer.
func (s *Server) GetWebhook(ctx context.Context, req *registryv1.GetWebhookRequest) (*registryv1.GetWebhookResponse, error) {
	w, err := s.store.GetWebhook(ctx, req.GetWebhook())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetWebhookResponse{Webhook: w}, nil
}

// ListWebhooks implements registryv1.RegistryServiceServer.
func (s *Server) ListWebhooks(ctx context.Context, req *registryv1.ListWebhooksRequest) (*registryv1.ListWebhooksResponse, error) {
	p := pager[*registryv1.Webhook]{
		scope: "webhooks", key: (*registryv1.Webhook).GetName,
		list: func(after string, limit int) ([]*registryv1.Webhook, error) {
			return s.store.ListWebhooks(ctx, after, limit)
		},
	}
	webhooks, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListWebhooksResponse{Webhooks: webhooks, NextPageToken: next}, nil
}

// UpdateWebhook implements registryv1.RegistryServiceServer.
func (s *Server) UpdateWebhook(ctx context.Context, req *registryv1.UpdateWebhookRequest) (*registryv1.UpdateWebhookResponse, error) {
	if req.GetSecret() != "" {
		if _, err := standardwebhook.ParseSecret(req.GetSecret()); err != nil {
			return nil, err
		}
	}
	if err := webhook.CheckURL(req.GetUrl()); err != nil {
		return nil, err
	}
	w, err := s.store.UpdateWebhook(ctx, &registryv1.Webhook{
		Name: req.GetWebhook(), Url: req.GetUrl(), Events: req.GetEvents(), Models: req.GetModels(), Active: !req.GetInactive(),
	}, req.GetSecret(), req.GetEtag())
	if err != nil {
		return nil, err
	}
	s.wakeWebhooks()
	return &registryv1.UpdateWebhookResponse{Webhook: w}, nil
}

// DeleteWebhook implements registryv1.RegistryServiceServer.
func (s *Server) DeleteWebhook(ctx context.Context, req *registryv1.DeleteWebhookRequest) (*registryv1.DeleteWebhookResponse, error) {
	if err := s.store.DeleteWebhook(ctx, req.GetWebhook(), req.GetEtag()); err != nil {
		return nil, err
	}
	return &registryv1.DeleteWebhookResponse{}, nil
}

// ListDeliveries implements registryv1.RegistryServiceServer.
func (s *Server) ListDeliveries(ctx context.Context, req *registryv1.ListDeliveriesRequest) (*registryv1.ListDeliveriesResponse, error) {
	p := revisions(func(before int64, limit int) ([]*registryv1.Delivery, error) {
		return s.store.ListDeliveries(ctx, req.GetWebhook(), req.GetState(), before, limit)
	}, "deliveries/"+req.GetWebhook()+"/"+req.GetState().String())
	deliveries, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListDeliveriesResponse{Deliveries: deliveries, NextPageToken: next}, nil
}

// Redeliver implements registryv1.RegistryServiceServer.
func (s *Server) Redeliver(ctx context.Context, req *registryv1.RedeliverRequest) (*registryv1.RedeliverResponse, error) {
	var revision int64
	if id := req.GetDelivery(); id != "" {
		text, ok := strings.CutPrefix(id, "msg_"+req.GetWebhook()+"_")
		n, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil || n < 1 {
			return nil, apierr.Invalid("delivery", "must be the id of a message of this webhook, or empty for all that were given up")
		}
		revision = n
	}
	count, err := s.store.Redeliver(ctx, req.GetWebhook(), revision)
	if err != nil {
		return nil, err
	}
	s.wakeWebhooks()
	return &registryv1.RedeliverResponse{Count: count}, nil
}
